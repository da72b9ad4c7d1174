"""Lines that say how far a training is; Ray shows them where the job was started."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta

_SECONDS_BETWEEN = 15.0


class ProgressLines:
    """At most a line every quarter of a minute, from rank 0.

    Args:
        num_steps: of the whole training.
        first: steps that are done already.
    """

    def __init__(self, num_steps: int, first: int) -> None:
        self._num_steps = num_steps
        self._first = first
        self._begun = time.monotonic()
        self._last = self._begun - _SECONDS_BETWEEN
        self._masks = 0.0

    def show(self, step: int, figures: Mapping[str, float], last_iou: float) -> None:
        """Say where the training is, unless it was just said.

        Args:
            step: steps done.
            figures: of the last step.
            last_iou: of the last validation, 0 before the first.
        """
        now = time.monotonic()
        self._masks += figures["num_masks"]
        if now - self._last < _SECONDS_BETWEEN and step < self._num_steps:
            return
        self._last = now
        seconds = now - self._begun
        left = seconds / (step - self._first) * (self._num_steps - step)
        parts = [
            f"step {step:,} of {self._num_steps:,}",
            f"loss {figures['loss']:.3f}",
            f"{self._masks / seconds:.0f} masks/s",
            f"{timedelta(seconds=round(left))} left",
        ]
        if last_iou:
            parts.insert(2, f"validation IoU {last_iou:.3f}")
        sys.stdout.write("  ".join(parts) + "\n")
        sys.stdout.flush()
