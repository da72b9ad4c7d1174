"""The job: check the settings, start the service, keep it up until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation

from pipelines.cluster import connect, is_joined_cluster
from pipelines.model_registry import find_registered
from pipelines.serving.access import check_exposure, read_key_digests
from pipelines.serving.api import ApiSettings
from pipelines.serving.deployments import (
    APPLICATION,
    ChatReplicaSettings,
    ReplicaSettings,
    Scale,
    build_application,
)
from pipelines.serving.fetching import check_origins
from pipelines.serving.limits import Limits
from pipelines.setting_checks import above_zero, at_least
from samtok.errors import ConfigError
from samtok.mllm.chat import check_mask_tokenizer
from samtok.mllm.model import load_processor, read_mask_tokenizer
from samtok.tokenizer import SAMTok

_MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatConfig:
    """Replicas of the language model."""

    num_replicas: int = 1
    """How many, or at least how many."""
    max_replicas: int | None = None
    """Most replicas; with it their number follows the calls."""
    cpus_per_replica: float = 1.0
    """CPUs of a replica; its torch threads."""
    gpus_per_replica: float = 0.0
    """GPUs of a replica: 0 runs on the CPU."""
    max_batch_size: int = 8
    """Conversations that a replica answers at the same time, a token of each at a time. Each takes
    memory for what it has read and written."""

    def __post_init__(self) -> None:
        at_least(1, "chat.num_replicas", self.num_replicas)
        at_least(1, "chat.max_batch_size", self.max_batch_size)
        at_least(self.num_replicas, "chat.max_replicas", self.max_replicas)
        at_least(0, "chat.gpus_per_replica", self.gpus_per_replica)
        above_zero("chat.cpus_per_replica", self.cpus_per_replica)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeModelConfig:
    """Settings of the service."""

    tokenizer: str = "tiny"
    """tiny (packaged), a folder with config.json and model.safetensors, a published .pth file, or
    models:/NAME@ALIAS of MLflow, found when the service starts or is deployed. Every node must be
    able to read it."""
    model: str = "auto"
    """Language model that answers conversations: tiny-chat (packaged; knows scenes only), a folder
    in hub layout, as jobs/train_sft.py writes, a hub id, or models:/NAME@ALIAS. none: only
    /v1/encode and /v1/decode answer. auto: tiny-chat beside the tokenizer tiny, none beside any
    other. Every node must be able to read it."""
    host: str = "127.0.0.1"
    """Address to listen on. Anything but this machine's own needs --api-keys."""
    port: int = 8000
    """Port to listen on, 1 to 65535."""
    api_keys: str | None = None
    """File of the keys that are let in, one a line, 16 characters or more each; a client sends
    'Authorization: Bearer KEY'. The service keeps their digests only."""
    image_origins: tuple[str, ...] = ()
    """Where images are fetched from when a request names their address, such as
    https://images.example.org; without any, nothing is fetched. Redirects lead no further than
    these, and private addresses are refused."""
    num_replicas: int = 1
    """Replicas of the tokenizer. Each has its own cache."""
    max_replicas: int | None = None
    """Most replicas of the tokenizer; with it their number follows the calls."""
    cpus_per_replica: float = 1.0
    """CPUs of a replica; its torch threads."""
    gpus_per_replica: float = 0.0
    """GPUs of a replica: 0 runs on the CPU; 0.5 puts two on a GPU."""
    cache_mib: int = 512
    """Memory for embeddings of images seen lately, in MiB, in each replica; 0 keeps none. An image
    takes 0.4 MiB with tiny and 16 MiB at 1024 x 1024."""
    max_batch_size: int = 32
    """Calls that a replica takes together."""
    batch_wait_ms: float = 4.0
    """How long a call waits for company before a batch starts, in milliseconds."""
    chat: ChatConfig = field(default_factory=ChatConfig)
    """Replicas of the language model."""
    limits: Limits = field(default_factory=Limits)
    """What one request may ask for, and one client in a minute."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"--port is {self.port}; it must be 1 to 65535")
        check_origins(self.image_origins)
        for name in ("num_replicas", "max_batch_size"):
            at_least(1, name, getattr(self, name))
        at_least(self.num_replicas, "max_replicas", self.max_replicas)
        for name in ("cache_mib", "gpus_per_replica", "batch_wait_ms"):
            at_least(0, name, getattr(self, name))
        above_zero("cpus_per_replica", self.cpus_per_replica)

    @property
    def chat_model(self) -> str | None:
        """The language model as it was named, if there is one."""
        if self.model == "auto":
            return "tiny-chat" if self.tokenizer == "tiny" else None
        return None if self.model == "none" else self.model


@dataclass(frozen=True, slots=True)
class Sources:
    """Where tokenizer and model lie, registered ones found."""

    tokenizer: str
    model: str | None


def run_service(config: ServeModelConfig, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, then let calls end and take the service down.

    Args:
        config: settings.
        announce: told the address once calls are answered.

    Raises:
        ConfigError: it would be open to others without keys, the port is taken, the model has
            learned the words of another tokenizer, or MLflow does not know one; nothing runs.
        CheckpointError: tokenizer or model cannot be loaded; nothing runs.
    """
    key_digests = read_key_digests(config.api_keys) if config.api_keys else ()
    check_exposure(config.host, key_digests)
    sources = find_sources(config)
    _check_sources(sources)
    if not is_joined_cluster():
        _check_port(config.host, config.port)
        # With the 5 s of Ray's default, the proxy is restarted for ever on a busy machine.
        os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    connect()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # after Ray, which sets handlers of its own
        signal.signal(number, lambda *_: stop.set())
    start_service(config, make_application(config, sources, key_digests))
    try:
        announce(f"http://{config.host}:{config.port}")
        stop.wait()
    finally:
        serve.delete(APPLICATION)


def start_service(config: ServeModelConfig, application: serve.Application) -> None:
    """Deploy on the cluster this process is connected to, or update what runs there.

    Returns when calls are answered. A new tokenizer replaces replicas one after another.

    Args:
        config: where it listens.
        application: by :func:`make_application` of the same settings.
    """
    location = ProxyLocation.EveryNode if is_joined_cluster() else ProxyLocation.HeadOnly
    serve.start(
        proxy_location=location, http_options=HTTPOptions(host=config.host, port=config.port)
    )
    serve.run(application, name=APPLICATION, route_prefix="/")


def find_sources(config: ServeModelConfig) -> Sources:
    """Look tokenizer and model up, once, so that what is checked is what replicas load.

    Raises:
        ConfigError: MLflow does not know one.
    """
    named = config.chat_model
    model = None if named is None else find_registered(named)
    return Sources(find_registered(config.tokenizer), model)


def make_application(
    config: ServeModelConfig, sources: Sources, key_digests: tuple[str, ...] = ()
) -> serve.Application:
    """The service, ready for ``serve.run``."""
    api = ApiSettings(
        model_id=config.tokenizer,
        chat_model_id=config.chat_model,
        limits=config.limits,
        image_origins=config.image_origins,
        key_digests=key_digests,
    )
    replicas = ReplicaSettings(
        source=sources.tokenizer,
        scale=Scale(config.num_replicas, config.max_replicas),
        cpus=config.cpus_per_replica,
        gpus=config.gpus_per_replica,
        cache_bytes=config.cache_mib * _MIB,
        max_batch_size=config.max_batch_size,
        batch_wait_seconds=config.batch_wait_ms / 1000,
    )
    chat = None if sources.model is None else _settle_chat(sources.model, config)
    return build_application(api, replicas, chat)


def _settle_chat(source: str, config: ServeModelConfig) -> ChatReplicaSettings:
    return ChatReplicaSettings(
        source=source,
        scale=Scale(config.chat.num_replicas, config.chat.max_replicas),
        cpus=config.chat.cpus_per_replica,
        gpus=config.chat.gpus_per_replica,
        max_prompt_tokens=config.limits.max_prompt_tokens,
        max_batch_size=config.chat.max_batch_size,
    )


def _check_sources(sources: Sources) -> None:
    """Load what can be loaded here: a broken checkpoint would fail in replicas, again and again."""
    tokenizer = SAMTok.from_pretrained(sources.tokenizer, device="cpu")
    if sources.model is not None:
        load_processor(sources.model)
        check_mask_tokenizer(read_mask_tokenizer(sources.model), tokenizer)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"--host {host} --port {port} cannot be used: {error}") from error
