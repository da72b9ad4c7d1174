"""Lanes: the micro-batches of a step, dealt out to the processes in order.

With L lanes, process r of W holds lanes r L/W and on. What is random belongs to a lane and a step,
and to no process, so that a step's result does not depend on W.
"""

from __future__ import annotations

import numpy as np
import torch.distributed as dist

from samtok.training.collectives import num_processes


def first_lane(lanes_per_process: int) -> int:
    """The first lane of this process."""
    return dist.get_rank() * lanes_per_process if num_processes() > 1 else 0


def seed_of_lane(seed: int, step: int, lane: int) -> int:
    """Seed of what is random in a lane at a step; nothing to save, nothing to resume.

    Args:
        seed: of the training.
        step: from 0.
        lane: from 0.

    Returns:
        A number below 2^64.
    """
    return int(np.random.SeedSequence([seed, step, lane]).generate_state(1, np.uint64)[0])
