"""Rollout actors at work, watched over: one that dies or hangs is replaced, its work given again.

Waits for: each call, no longer than its timeout. Work that fails several times is an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from pipelines.grpo.published_weights import PublishedWeights
from samtok.errors import SamtokError

logger = logging.getLogger(__name__)

_LOST: Final = (RayActorError, TimeoutError)


class RolloutError(SamtokError):
    """Rollouts cannot be generated."""


@dataclass(slots=True)
class _Call:
    position: int
    tasks: Sequence[Any]
    num_attempts: int = 0


class RolloutPool:
    """A fixed number of actors that take calls as they become free.

    Args:
        start: makes an actor.
        num_actors: how many.
        timeout_seconds: of a call.
        max_attempts: of the same work.
    """

    def __init__(
        self,
        start: Callable[[], ActorHandle],
        *,
        num_actors: int,
        timeout_seconds: float,
        max_attempts: int,
    ) -> None:
        self._start = start
        self._timeout_seconds = timeout_seconds
        self._max_attempts = max_attempts
        self._actors = [start() for _ in range(num_actors)]
        self.num_replaced = 0

    def __len__(self) -> int:
        return len(self._actors)

    @property
    def actors(self) -> Sequence[ActorHandle]:
        """Those at work now."""
        return tuple(self._actors)

    async def run(
        self, method: str, chunks: Sequence[Sequence[Any]], weights: PublishedWeights
    ) -> list[Any]:
        """Call a method of the actors on every chunk of work.

        Args:
            method: of `RolloutActor`.
            chunks: of tasks.
            weights: that it is done with.

        Returns:
            A result for each chunk, in order, whoever did it.

        Raises:
            RolloutError: the same work was lost `max_attempts` times.
        """
        waiting = deque(_Call(position, tasks) for position, tasks in enumerate(chunks))
        results: dict[int, Any] = {}

        async def serve(slot: int) -> None:
            while waiting:
                call = waiting.popleft()
                actor = self._actors[slot]
                copies = await weights.copies_for(actor)
                reference = getattr(actor, method).remote(call.tasks, weights.version, copies)
                try:
                    results[call.position] = await asyncio.wait_for(
                        _wait(reference), self._timeout_seconds
                    )
                except _LOST as error:
                    self._replace(slot, actor, error)
                    call.num_attempts += 1
                    if call.num_attempts >= self._max_attempts:
                        raise RolloutError(
                            f"the same prompts were lost {call.num_attempts} times, last by "
                            f"{_describe(error)}; look at the actors' logs, give them more memory "
                            "or --rollouts.timeout-seconds"
                        ) from error
                    waiting.appendleft(call)

        try:
            async with asyncio.TaskGroup() as group:
                for slot in range(len(self._actors)):
                    group.create_task(serve(slot))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        return [results[position] for position in range(len(chunks))]

    def _replace(self, slot: int, lost: ActorHandle, error: BaseException) -> None:
        """Put another in the place of an actor, unless that was done for another of its calls."""
        if self._actors[slot] is not lost:
            return
        logger.warning("rollout actor %d is replaced: %s", slot, _describe(error))
        ray.kill(lost)
        self._actors[slot] = self._start()
        self.num_replaced += 1


async def _wait(reference: ray.ObjectRef) -> Any:
    return await reference


def _describe(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else "a call that took too long"
