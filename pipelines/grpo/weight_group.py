"""A process group of a training's first worker and the rollout actors, to broadcast weights in.

It stands beside the group that the training has by itself, and is made of torch's own parts, as
`torch.distributed` keeps one world per process: NCCL between GPUs, gloo between CPUs.

Waits for: all members, each no longer than the timeout. Not run on GPUs yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import torch
import torch.distributed as dist

Layout: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of weights, in the order in which they are sent."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the members of a group find each other; no two groups share one."""

    host: str
    port: int
    size: int
    """Members, the sender included."""


def list_layout(weights: Mapping[str, torch.Tensor]) -> Layout:
    """What receivers are told about the weights that come."""
    return tuple((name, tuple(weight.shape)) for name, weight in weights.items())


def open_meeting(host: str, size: int, timeout_seconds: float) -> tuple[Meeting, Any]:
    """A meeting that this process is the host of, as long as it keeps the store.

    Args:
        host: address of this process, as the others reach it.
        size: members, this one included.
        timeout_seconds: for each wait.

    Returns:
        The meeting and its store.
    """
    store = _open_store(host, 0, timedelta(seconds=timeout_seconds), is_master=True)
    return Meeting(host, store.port, size), store


class WeightGroup:
    """One member.

    Args:
        meeting: the same for all.
        rank: 0 sends, the others receive.
        device: where weights lie: all on GPUs, or all on CPUs.
        timeout_seconds: for each wait.
        store: of the meeting, where this process is its host.

    Raises:
        RuntimeError: the others did not come in time.
    """

    def __init__(
        self,
        meeting: Meeting,
        rank: int,
        device: torch.device,
        timeout_seconds: float,
        store: Any = None,
    ) -> None:
        self.meeting = meeting
        self._device = device
        timeout = timedelta(seconds=timeout_seconds)
        self._store = store or _open_store(meeting.host, meeting.port, timeout, is_master=False)
        self._group = _make_group(self._store, rank, meeting.size, device, timeout)

    def send(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Give weights to all; by rank 0.

        Args:
            weights: float32, on the device, in the order of the layout.

        Raises:
            RuntimeError: a member was lost.
        """
        for weight in weights.values():
            self._broadcast(weight.contiguous())
        self._finish()

    def receive(self, layout: Layout) -> Iterator[tuple[str, torch.Tensor]]:
        """Weights as they come, one at a time in memory; to be read to the end.

        Args:
            layout: of what is sent.

        Yields:
            Name, and float32 tensor on the device.

        Raises:
            RuntimeError: a member was lost.
        """
        for name, shape in layout:
            weight = torch.empty(shape, device=self._device)
            self._broadcast(weight)
            yield name, weight
        self._finish()

    def _broadcast(self, weight: torch.Tensor) -> None:
        options = dist.BroadcastOptions()
        options.rootRank = 0
        self._group.broadcast([weight], options).wait()

    def _finish(self) -> None:
        """NCCL's waits only order its work on the GPU; errors show here."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _open_store(host: str, port: int, timeout: timedelta, *, is_master: bool) -> Any:
    return dist.TCPStore(  # type: ignore[attr-defined]  # by a name that torch does not list
        host, port, is_master=is_master, wait_for_workers=False, timeout=timeout
    )


def _make_group(store: Any, rank: int, size: int, device: torch.device, timeout: timedelta) -> Any:
    if device.type == "cuda":
        options = dist.ProcessGroupNCCL.Options()
        options._timeout = timeout
        return dist.ProcessGroupNCCL(store, rank, size, options)
    return dist.ProcessGroupGloo(store, rank, size, timeout)
