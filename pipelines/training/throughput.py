"""How fast a worker trains, what it waits for, and the memory it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

_GIB = 1 << 30


class Throughput:
    """Counts between reports.

    Args:
        device: that trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.restart()

    def restart(self) -> None:
        """Forget what was counted, e.g. after a validation, which is no training time."""
        self._since = time.perf_counter()
        self._waited = 0.0
        self._images = self._masks = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in here counts as waiting for data."""
        begun = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begun

    def count(self, figures: Mapping[str, float]) -> None:
        """Add the images and masks of a step, over all workers."""
        self._images += figures["num_images"]
        self._masks += figures["num_masks"]

    def report(self) -> dict[str, float]:
        """Rates since the last report, and memory now; starts anew."""
        seconds = time.perf_counter() - self._since
        figures = {
            "images_per_second": self._images / seconds,
            "masks_per_second": self._masks / seconds,
            "data_wait_share": self._waited / seconds,
            "worker_memory_gib": _resident_bytes() / _GIB,
        }
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            figures["gpu_memory_peak_gib"] = peak / _GIB
        self.restart()
        return figures


def _resident_bytes() -> float:
    """Memory of this process; 0 where the system does not say (not Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    lines = status.read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
