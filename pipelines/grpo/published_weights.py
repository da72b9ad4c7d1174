"""Weights of one version as the controller knows them: who has them, and where others find them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import ray
from ray.actor import ActorHandle


class PublishedWeights:
    """Made inside a running event loop.

    Args:
        version: steps that they have learned.
        holders: actors that were sent them.
    """

    def __init__(self, version: int, holders: Iterable[ActorHandle] = ()) -> None:
        self.version = version
        self._holders = tuple(holders)
        self._copies = asyncio.get_running_loop().create_future()

    @property
    def num_holders(self) -> int:
        """Actors that were sent them."""
        return len(self._holders)

    def offer(self, copies: Sequence[ray.ObjectRef]) -> None:
        """Say where they can be read.

        Args:
            copies: one reference, in a list: as an argument by itself it would be resolved.
        """
        if not self._copies.done():
            self._copies.set_result(copies)

    async def copies_for(self, actor: ActorHandle) -> Sequence[ray.ObjectRef]:
        """What an actor is to be told of them: nothing, if it was sent them."""
        if any(actor is holder for holder in self._holders):
            return []
        return await asyncio.shield(self._copies)
