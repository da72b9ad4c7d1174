"""How fast a worker trains, what it waits for, and the memory it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

_GIB = 1 << 30


class Throughput:
    """Counts between reports.

    Args:
        device: that trains.
        units: what is counted, ``num_<unit>`` in the figures of a step.
    """

    def __init__(self, device: torch.device, units: Sequence[str]) -> None:
        self._device = device
        self._units = units
        self.restart()

    def restart(self) -> None:
        """Forget what was counted, e.g. after a validation, which is no training time."""
        self._since = time.perf_counter()
        self._waited = 0.0
        self._counts = dict.fromkeys(self._units, 0.0)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in here counts as waiting for data."""
        begun = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begun

    def count(self, figures: Mapping[str, float]) -> None:
        """Add what a step counted, over all workers."""
        for unit in self._units:
            self._counts[unit] += figures[f"num_{unit}"]

    def report(self) -> dict[str, float]:
        """Rates since the last report, and memory now; starts anew."""
        seconds = time.perf_counter() - self._since
        figures = {
            **{f"{unit}_per_second": count / seconds for unit, count in self._counts.items()},
            "data_wait_share": self._waited / seconds,
            "worker_memory_gib": _private_bytes() / _GIB,
        }
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            figures["gpu_memory_peak_gib"] = peak / _GIB
        self.restart()
        return figures


def _private_bytes() -> float:
    """Memory of this process but for what it shares; 0 where the system does not say (not Linux).

    A process that reads from Ray's object store maps more and more of it, up to all of it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    lines = (line.split() for line in status.read_text().splitlines())
    sizes = {line[0]: int(line[1]) for line in lines if line[0] in ("VmRSS:", "RssShmem:")}
    return 1024.0 * (sizes["VmRSS:"] - sizes.get("RssShmem:", 0))
