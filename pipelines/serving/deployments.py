"""The service on Ray Serve: an ingress, and replicas that hold tokenizer and language model."""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.config import AutoscalingConfig
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from starlette.types import ASGIApp

from pipelines.serving.api import ApiSettings, build_app
from pipelines.serving.calls import (
    Call,
    ChatCall,
    ChatEvent,
    DecodeCall,
    Decoded,
    EncodeCall,
    Encoded,
    ModelFacts,
    Refused,
    TokenizerFacts,
)
from pipelines.serving.chat_engine import ChatEngine, stream_answer
from pipelines.serving.engine import Answer, TokenizerEngine
from pipelines.serving.errors import overloaded
from pipelines.serving.limits import Limits
from samtok.mllm import load_mllm
from samtok.tokenizer import SAMTok

APPLICATION: Final = "samtok"

_BATCHES_AHEAD: Final = 2
"""Calls a replica takes on, in batches: the one that runs and the one that gathers."""
_MAX_INGRESS_CALLS: Final = 10_000
"""More than ever come: the gate turns calls away itself, with an error that says when to try again,
where Ray's proxy would do it with bare text."""
_RETRY_SECONDS: Final = 1.0
_LOGGING: Final = {"enable_access_log": False}
"""The gate logs each request already; Ray's line for every hop costs CPU and has the same in it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How many replicas there are."""

    num_replicas: int
    """At least."""
    max_replicas: int | None
    """At most, as calls come and go; None keeps `num_replicas`."""

    def to_options(self, target_calls: int) -> dict[str, Any]:
        """For ``serve.deployment``; replicas are added where each has more than `target_calls`."""
        if self.max_replicas is None:
            return {"num_replicas": self.num_replicas}
        scaling = AutoscalingConfig(
            min_replicas=self.num_replicas,
            max_replicas=self.max_replicas,
            target_ongoing_requests=target_calls,
        )
        return {"autoscaling_config": scaling}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaSettings:
    """The replicas that hold the tokenizer."""

    source: str
    """As for ``SAMTok.from_pretrained``; every node must be able to read it."""
    scale: Scale
    cpus: float
    """Of each, for torch threads."""
    gpus: float
    """Of each; 0 runs on the CPU."""
    cache_bytes: int
    """For embeddings, in each."""
    max_batch_size: int
    """Calls taken together."""
    batch_wait_seconds: float
    """How long a call waits for company."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatReplicaSettings:
    """The replicas that hold the language model."""

    source: str
    """As for ``samtok.mllm.load_mllm``; every node must be able to read it."""
    scale: Scale
    cpus: float
    """Of each, for torch threads."""
    gpus: float
    """Of each; 0 runs on the CPU."""
    max_prompt_tokens: int
    """Conversations of more are refused."""
    max_batch_size: int
    """Conversations answered at the same time."""


class TokenizerReplica:
    """A tokenizer and its cache in an actor; one thread computes, the event loop gathers calls."""

    def __init__(self, settings: ReplicaSettings) -> None:
        torch.set_num_threads(max(1, round(settings.cpus)))
        self._engine = TokenizerEngine(
            SAMTok.from_pretrained(settings.source), cache_bytes=settings.cache_bytes
        )
        self._facts = TokenizerFacts(settings.source, self._engine.fingerprint)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer")
        self._gather.set_max_batch_size(settings.max_batch_size)
        self._gather.set_batch_wait_timeout_s(settings.batch_wait_seconds)

    async def call(self, call: Call) -> Answer:
        """The answer to one call, computed with those that arrive at the same time."""
        answer: Answer = await self._gather((call, time.monotonic()))
        return answer

    async def facts(self) -> TokenizerFacts:
        """What is loaded here."""
        return self._facts

    @serve.batch  # type: ignore[untyped-decorator]
    async def _gather(self, arrivals: list[tuple[Call, float]]) -> list[Answer]:
        began = time.monotonic()
        calls = [call for call, _ in arrivals]
        answers = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._engine.run, calls
        )
        return [
            _note_wait(answer, began - arrived)
            for answer, (_, arrived) in zip(answers, arrivals, strict=True)
        ]


class ChatReplica:
    """A language model in an actor; one thread writes the answers to all its calls."""

    def __init__(self, settings: ChatReplicaSettings) -> None:
        torch.set_num_threads(max(1, round(settings.cpus)))
        self._engine = ChatEngine(
            load_mllm(settings.source),
            max_prompt_tokens=settings.max_prompt_tokens,
            max_batch_size=settings.max_batch_size,
        )
        atexit.register(self._engine.close)
        self._facts = ModelFacts(settings.source, self._engine.mask_tokenizer)

    async def stream(self, call: ChatCall) -> AsyncGenerator[ChatEvent]:
        """One answer as it is written."""
        async with aclosing(stream_answer(self._engine, call)) as events:
            async for event in events:
                yield event

    async def facts(self) -> ModelFacts:
        """What is loaded here."""
        return self._facts


class Ingress:
    """The routes, in front of the replicas."""

    def __init__(self, settings: ApiSettings, tokenizer: Any, chat_model: Any = None) -> None:
        self._settings = settings
        self._tokenizer = tokenizer
        self._chat_model = chat_model
        log = logging.getLogger("samtok.serving")
        log.setLevel(logging.INFO)
        log.addHandler(logging.StreamHandler())  # a worker's own shows warnings only

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Asked for by Ray Serve once the replica stands."""
        chat_model = None if self._chat_model is None else RemoteChatModel(self._chat_model)
        return build_app(self._settings, RemoteTokenizer(self._tokenizer), chat_model)


class RemoteTokenizer:
    """The replicas as the routes know them.

    Args:
        handle: of the deployment.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def encode(self, call: EncodeCall) -> Encoded | Refused:
        """Codes of masks."""
        encoded: Encoded | Refused = await self._ask("call", call)
        return encoded

    async def decode(self, call: DecodeCall) -> Decoded | Refused:
        """Masks of codes."""
        decoded: Decoded | Refused = await self._ask("call", call)
        return decoded

    async def facts(self) -> TokenizerFacts:
        """What a replica says."""
        facts: TokenizerFacts = await self._ask("facts")
        return facts

    async def _ask(self, method: str, *arguments: Any) -> Any:
        with _losses_as_refusals():
            return await getattr(self._handle, method).remote(*arguments)


class RemoteChatModel:
    """The replicas of the language model as the routes know them.

    Args:
        handle: of the deployment.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def stream(self, call: ChatCall) -> AsyncGenerator[ChatEvent]:
        """One answer as it is written."""
        with _losses_as_refusals():
            response = self._handle.options(stream=True).stream.remote(call)
            try:
                async for event in response:
                    yield event
            finally:
                response.cancel()  # without effect on one that has ended

    async def facts(self) -> ModelFacts:
        """What a replica says."""
        with _losses_as_refusals():
            facts: ModelFacts = await self._handle.facts.remote()
        return facts


@contextmanager
def _losses_as_refusals() -> Iterator[None]:
    """What Ray raises where a replica is full or lost becomes an answer that can be tried again."""
    try:
        yield
    except BackPressureError:
        raise overloaded("too many calls wait", retry_after=_RETRY_SECONDS) from None
    except (RayActorError, DeploymentUnavailableError):
        raise overloaded("a replica was lost", retry_after=_RETRY_SECONDS) from None


def build_application(
    api: ApiSettings, replicas: ReplicaSettings, chat: ChatReplicaSettings | None = None
) -> serve.Application:
    """The whole service, ready for ``serve.run``; without `chat`, no language model is served.

    A replica that is replaced ends its calls first, and has as long for it as a call may take:
    those at the ingress may be waiting for a new tokenizer to load.
    """
    limits = api.limits
    tokenizer = serve.deployment(
        TokenizerReplica,
        name="tokenizer",
        logging_config=_LOGGING,
        **replicas.scale.to_options(replicas.max_batch_size),
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        max_ongoing_requests=_BATCHES_AHEAD * replicas.max_batch_size,
        max_queued_requests=limits.max_pending,
        graceful_shutdown_timeout_s=limits.max_call_seconds,
    ).bind(replicas)
    ingress = serve.deployment(
        serve.ingress()(Ingress),
        name="ingress",
        logging_config=_LOGGING,
        ray_actor_options={"num_cpus": 0},  # it mostly waits
        max_ongoing_requests=_MAX_INGRESS_CALLS,
        graceful_shutdown_timeout_s=limits.max_body_seconds + limits.max_call_seconds,
    )
    if chat is None:
        return ingress.bind(api, tokenizer)
    return ingress.bind(api, tokenizer, _build_chat(chat, limits))


def _build_chat(settings: ChatReplicaSettings, limits: Limits) -> serve.Application:
    return serve.deployment(
        ChatReplica,
        name="chat",
        logging_config=_LOGGING,
        **settings.scale.to_options(settings.max_batch_size),
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
        max_ongoing_requests=_BATCHES_AHEAD * settings.max_batch_size,
        max_queued_requests=limits.max_pending,
        graceful_shutdown_timeout_s=limits.max_call_seconds,
    ).bind(settings)


def _note_wait(answer: Answer, seconds: float) -> Answer:
    if isinstance(answer, Refused):
        return answer
    served = dataclasses.replace(answer.served, waited_seconds=seconds)
    return dataclasses.replace(answer, served=served)
