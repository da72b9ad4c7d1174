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
        headline: name of the figure that is shown.
        unit: whose rate is shown, ``num_<unit>`` in a step's figures.
        score_name: what the score is called.
    """

    def __init__(
        self, num_steps: int, first: int, *, headline: str, unit: str, score_name: str
    ) -> None:
        self._headline = headline
        self._num_steps = num_steps
        self._first = first
        self._unit = unit
        self._score_name = score_name
        self._begun = time.monotonic()
        self._last = self._begun - _SECONDS_BETWEEN
        self._counted = 0.0

    def show(self, step: int, figures: Mapping[str, float], last_score: float) -> None:
        """Say where the training is, unless it was just said.

        Args:
            step: steps done.
            figures: of the last step.
            last_score: of the last validation, below 0 before the first.
        """
        now = time.monotonic()
        self._counted += figures[f"num_{self._unit}"]
        if now - self._last < _SECONDS_BETWEEN and step < self._num_steps:
            return
        self._last = now
        seconds = now - self._begun
        left = seconds / (step - self._first) * (self._num_steps - step)
        parts = [
            f"step {step:,} of {self._num_steps:,}",
            f"{self._headline} {figures[self._headline]:.3f}",
            f"{self._counted / seconds:.0f} {self._unit}/s",
            f"{timedelta(seconds=round(left))} left",
        ]
        if last_score >= 0:
            parts.insert(2, f"{self._score_name} {last_score:.3f}")
        sys.stdout.write("  ".join(parts) + "\n")
        sys.stdout.flush()
