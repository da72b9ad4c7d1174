"""Learning rate over the steps of a training."""

from __future__ import annotations

import math


def warm_up_then_cosine(step: int, num_steps: int, warmup_share: float) -> float:
    """Share of the peak learning rate: a linear rise to 1, then half a cosine down to 0.

    Args:
        step: from 0.
        num_steps: of the whole schedule.
        warmup_share: share of the steps that rise, in [0, 1); at least one step does.
    """
    warmup = max(1, round(warmup_share * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))
