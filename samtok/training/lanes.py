"""Lanes: the micro-batches of a step, dealt out to the processes in order.

With L lanes, process r of W holds lanes r L/W and on. What is random belongs to a lane and a step,
and to no process, so that a step's result does not depend on W.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from samtok.training.collectives import process_rank


def first_lane(lanes_per_process: int) -> int:
    """The first lane of this process."""
    return process_rank() * lanes_per_process


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


def deal_evenly(costs: Sequence[int], number: int) -> list[list[int]]:
    """Deal positions out to parts of about the same cost, the dearest first.

    Args:
        costs: of each position.
        number: of parts; with as many positions none is empty.

    Returns:
        Positions of each part, the dearest first.
    """
    parts: list[list[int]] = [[] for _ in range(number)]
    lightest = [(0, part) for part in range(number)]
    for position in sorted(range(len(costs)), key=lambda position: -costs[position]):
        total, part = heapq.heappop(lightest)
        parts[part].append(position)
        heapq.heappush(lightest, (total + costs[position], part))
    return parts
