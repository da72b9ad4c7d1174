"""The actor between trainer and rollout actors: which prompts, with which weights, for which step.

The batch of step s is generated with the weights of version max(first step, s - max_staleness), the
version being the number of steps that they have learned; never with others, so that a run repeats
itself also where generation and training overlap.

Producing, a loop of its own, waits for: the weights of that version (unblocked by `publish` or
`receive`), then the actors' calls (unblocked by their answers or timeouts). `take` waits for the
batch of its step, `invite` for those that older weights are needed for. An error of producing is
raised by both, so nothing waits for ever.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.actor import ActorHandle

from pipelines.grpo.figures import measure_groups
from pipelines.grpo.prompt_stream import PromptStream
from pipelines.grpo.published_weights import PublishedWeights
from pipelines.grpo.records import AuditedAnswer, AuditTask, BatchShare, CallResult, RolloutGroup
from pipelines.grpo.rollout_config import RolloutConfig
from pipelines.grpo.rollout_pool import RolloutError, RolloutPool
from pipelines.grpo.weight_group import Layout, Meeting
from pipelines.training.conversations import ConversationCorpus
from pipelines.training.plan import Mixture

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

_MAX_REJECTED_TIMES = 4
"""Prompts that cannot be asked, as a multiple of those of a step, before that is an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPlan:
    """How many prompts a step has, and how they are dealt out."""

    num_steps: int
    prompts_per_step: int
    prompts_per_lane: int
    num_minibatches: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """A step's rollouts."""

    groups: list[RolloutGroup]
    next_prompt: int
    figures: dict[str, float]
    rejected: list[dict[str, Any]]


class RolloutController:
    """Produces the batches of the steps, in order.

    Args:
        corpora: of prompts.
        mixture: of the corpora, with one lane.
        plan: of the steps.
        audited: held-out prompts.
        config: of the rollouts.
        start_actor: makes a rollout actor.
        num_actors: how many.
    """

    def __init__(
        self,
        *,
        corpora: tuple[ConversationCorpus, ...],
        mixture: Mixture,
        plan: BatchPlan,
        audited: Sequence[AuditTask],
        config: RolloutConfig,
        start_actor: Callable[[], ActorHandle],
        num_actors: int,
    ) -> None:
        self._plan = plan
        self._config = config
        self._audited = audited
        self._stream = PromptStream(corpora, mixture)
        self._pool = RolloutPool(
            start_actor,
            num_actors=num_actors,
            timeout_seconds=config.timeout_seconds,
            max_attempts=config.max_attempts,
        )
        self._weights: dict[int, PublishedWeights] = {}
        self._published = asyncio.Event()
        self._first = 0
        self._batches: dict[int, asyncio.Future[_Batch]] = {}
        self._producing: asyncio.Task[None] | None = None

    async def begin(self, step: int, next_prompt: int) -> None:
        """Start from a step, or start again: whatever was under way is forgotten.

        Args:
            step: the first that is wanted.
            next_prompt: number of its first prompt.
        """
        if self._producing is not None:
            self._producing.cancel()
        self._stream.seek(next_prompt)
        self._weights.clear()
        self._first = step
        loop = asyncio.get_running_loop()
        self._batches = defaultdict(loop.create_future)
        self._producing = loop.create_task(self._produce(step, self._batches))

    async def publish(self, version: int, copies: Sequence[ray.ObjectRef]) -> None:
        """Make weights known to rollouts, or say where those that were broadcast can be read.

        Args:
            version: steps that they have learned.
            copies: a list of one reference to those that learn: name → float32 array.
        """
        if version not in self._weights:
            self._make_known(PublishedWeights(version))
        self._weights[version].offer(copies)

    async def invite(self, version: int) -> tuple[int, int]:
        """Wait until no batch needs weights that are older than those to be broadcast.

        Args:
            version: of those.

        Returns:
            How many actors there are, and a number that changes when one of them does.

        Raises:
            RolloutError: a batch cannot be generated.
        """
        if self._producing is not None and version > self._first:
            last = min(version + self._config.max_staleness, self._plan.num_steps) - 1
            await asyncio.shield(self._batches[last])
        return len(self._pool), self._pool.num_replaced

    async def receive(self, version: int, meeting: Meeting, layout: Layout) -> None:
        """Let all actors receive weights; those that fail will read a copy.

        Args:
            version: of the weights.
            meeting: of the group that they are broadcast in.
            layout: of the weights.
        """
        actors = self._pool.actors
        calls = [
            actor.receive.remote(version, meeting, rank, layout)
            for rank, actor in enumerate(actors, start=1)
        ]
        answers = await asyncio.gather(
            *(asyncio.wait_for(call, self._config.timeout_seconds) for call in calls),
            return_exceptions=True,
        )
        for error in filter(None, answers):
            logger.warning("a rollout actor did not receive weights: %r", error)
        reached = [actor for actor, error in zip(actors, answers, strict=True) if error is None]
        self._make_known(PublishedWeights(version, reached))

    def _make_known(self, weights: PublishedWeights) -> None:
        self._weights[weights.version] = weights
        self._published.set()

    async def take(self, step: int, rank: int, num_workers: int) -> BatchShare:
        """A training worker's share of a step's batch.

        Raises:
            RolloutError: it cannot be generated.
        """
        for old in [each for each in self._batches if each < step]:
            del self._batches[old]
        batch = await asyncio.shield(self._batches[step])
        plan = self._plan
        return BatchShare(
            lanes=deal_out_groups(
                batch.groups, plan.num_minibatches, plan.prompts_per_lane, rank, num_workers
            ),
            next_prompt=batch.next_prompt,
            figures=batch.figures,
            rejected=batch.rejected if rank == 0 else [],
        )

    async def audit(self, version: int) -> list[AuditedAnswer]:
        """Answers to the held-out prompts by published weights."""
        chunks = cut(self._audited, self._config.prompts_per_call)
        parts = await self._pool.run("audit", chunks, self._weights[version])
        return [answer for part in parts for answer in part]

    async def _produce(self, first: int, batches: dict[int, asyncio.Future[_Batch]]) -> None:
        for step in range(first, self._plan.num_steps):
            begun = time.perf_counter()
            try:
                version = max(first, step - self._config.max_staleness)
                weights = await self._wait_for(version)
                batch = await self._roll_out(step, weights, begun)
                batches[step].set_result(batch)
            except Exception as error:
                for later in range(step, self._plan.num_steps):
                    batches[later].set_exception(RolloutError(str(error)))
                    batches[later].exception()  # seen: not every one is going to be taken
                return

    async def _wait_for(self, version: int) -> PublishedWeights:
        while version not in self._weights:
            self._published.clear()
            await self._published.wait()
        for old in [each for each in self._weights if each < version]:
            del self._weights[old]
        return self._weights[version]

    async def _roll_out(self, step: int, weights: PublishedWeights, free_since: float) -> _Batch:
        """Groups for a step: flat ones are replaced as long as `max_tries` allows.

        Args:
            step: that they are for.
            weights: that they are generated with.
            free_since: when the actors had nothing more to do, for their idle share.
        """
        wanted = self._plan.prompts_per_step
        limit = math.ceil(wanted * self._config.max_tries)
        begun, busy = time.perf_counter(), 0.0
        groups: list[RolloutGroup] = []
        rejected: list[dict[str, Any]] = []
        while missing := self._count_missing(groups, limit):
            tasks = self._stream.take(missing)
            chunks = cut(tasks, self._config.prompts_per_call)
            results: list[CallResult] = await self._pool.run("roll_out", chunks, weights)
            for result in results:
                groups += result.groups
                rejected += result.rejected.values()
                busy += result.seconds
            if len(rejected) > _MAX_REJECTED_TIMES * wanted:
                raise RolloutError(
                    f"{len(rejected)} prompts of step {step} cannot be asked; the last: "
                    f"{rejected[-1]['detail']}"
                )
        seconds = time.perf_counter() - begun
        figures = measure_groups(groups)
        figures["rollouts/tokens_per_second"] = figures.pop("num_sampled_tokens") / seconds
        available = (time.perf_counter() - free_since) * len(self._pool)
        figures["rollouts/idle_share"] = max(0.0, 1 - busy / available)
        figures["rollouts/staleness"] = float(step - weights.version)
        figures["rollouts/broadcast_share"] = weights.num_holders / len(self._pool)
        figures["rollouts/prompts_tried"] = float(len(groups))
        figures["rollouts/actors_replaced"] = float(self._pool.num_replaced)
        chosen = choose_groups(groups, wanted)
        return _Batch(chosen, self._stream.next_number, figures, rejected)

    def _count_missing(self, groups: Sequence[RolloutGroup], limit: int) -> int:
        """Prompts to try next; 0 where the batch is full."""
        wanted = self._plan.prompts_per_step
        if len(groups) < wanted:
            return wanted - len(groups)
        useful = sum(not group.is_flat for group in groups)
        return max(0, min(wanted - useful, limit - len(groups)))


def choose_groups(groups: Sequence[RolloutGroup], wanted: int) -> list[RolloutGroup]:
    """The groups that teach something, then flat ones where those are too few; by number."""
    ordered = sorted(groups, key=lambda group: (group.is_flat, group.number))
    return sorted(ordered[:wanted], key=lambda group: group.number)


def deal_out_groups(
    groups: Sequence[RolloutGroup], num_minibatches: int, per_lane: int, rank: int, num_workers: int
) -> list[list[RolloutGroup]]:
    """A worker's lanes of a batch, those of the first minibatch first.

    The rows of a lane are padded to its longest, so groups of like length share lanes; and every
    worker has short lanes and long ones, as they wait for each other.

    Args:
        groups: a multiple of ``num_minibatches * per_lane * num_workers``.
        num_minibatches: that the batch is cut into.
        per_lane: groups of a lane.
        rank: of the worker.
        num_workers: that share every minibatch.
    """
    own: list[list[RolloutGroup]] = []
    for minibatch in cut(groups, len(groups) // num_minibatches):
        by_length = sorted(minibatch, key=lambda group: (group.num_tokens, group.number))
        own += [list(lane) for lane in cut(by_length, per_lane)[rank::num_workers]]
    return own


def cut(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Runs of `size` items; the last may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]
