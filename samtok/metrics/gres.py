"""Referring segmentation with any number of targets, scored as gRefCOCO's evaluator does.

Samples are added one by one, as masks or as the overlaps a worker measured. Per-round scores of
multi-round segmentation (MR-RefCOCO, arXiv 2410.18923) are the same sums kept apart by round.

Letters: H W pixels.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from samtok.metrics.segmentation import Overlap, measure_overlap

# The published evaluator adds these to its divisors; kept so that the numbers agree to the last.
_EPSILON_PER_SAMPLE = 1e-8
_EPSILON_OF_SUMS = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class GresScores:
    """Generalised referring segmentation, as gRefCOCO measures it; shares in 0..1."""

    g_iou: float
    """Mean over samples of the IoU; a sample without target counts 1 if nothing was predicted,
    else 0. NaN without samples."""
    c_iou: float
    """Sum of intersections over sum of unions, over all samples."""
    n_acc: float
    """Share of the samples without target where nothing was predicted; NaN if there are none."""
    t_acc: float
    """Share of the samples with a target where something was predicted; NaN if there are none."""
    num_samples: int
    """Samples added."""
    num_skipped: int
    """Pairs of different shapes: left out of both IoUs and of N-acc, but counted in T-acc."""


class GresTally:
    """Adds up samples in any order.

    The published evaluator prints its scores times 100, and fails instead of giving NaN when the
    samples are all with or all without a target.
    """

    def __init__(self) -> None:
        self._terms = self._intersection = self._union = 0.0
        self._num_compared = self._num_skipped = 0
        self._num_with_target = self._num_hits = 0
        self._num_without_target = self._num_refusals = 0

    def add(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Add a sample.

        Args:
            prediction: bool, shape (H, W); all False where no target is predicted. Several masks of
                one answer are merged by union before.
            target: bool, shape (H, W); all False where the sample has no target.
        """
        if prediction.shape != target.shape:
            self._num_skipped += 1
            if target.any():
                self._count(predicted=bool(prediction.any()), present=True)
        else:
            self.add_overlap(measure_overlap(prediction, target))

    def add_overlap(self, overlap: Overlap) -> None:
        """Add a sample by its areas."""
        self._num_compared += 1
        self._intersection += overlap.intersection
        self._union += overlap.union
        if overlap.target_area:
            self._terms += overlap.intersection / (overlap.union + _EPSILON_PER_SAMPLE)
        else:
            self._terms += overlap.union == 0
        self._count(predicted=overlap.prediction_area > 0, present=overlap.target_area > 0)

    def scores(self) -> GresScores:
        """Of what has been added so far."""
        return GresScores(
            g_iou=_share(self._terms, self._num_compared),
            c_iou=self._intersection / (self._union + _EPSILON_OF_SUMS),
            n_acc=_share(self._num_refusals, self._num_without_target),
            t_acc=_share(self._num_hits, self._num_with_target),
            num_samples=self._num_compared + self._num_skipped,
            num_skipped=self._num_skipped,
        )

    def _count(self, *, predicted: bool, present: bool) -> None:
        if present:
            self._num_with_target += 1
            self._num_hits += predicted
        else:
            self._num_without_target += 1
            self._num_refusals += not predicted


class RoundTally:
    """Scores of multi-round segmentation, round by round."""

    def __init__(self) -> None:
        self._rounds: dict[int, GresTally] = defaultdict(GresTally)

    def add_overlap(self, round_number: int, overlap: Overlap) -> None:
        """Add the answer of one round, counted from 1, by its areas."""
        self._rounds[round_number].add_overlap(overlap)

    def scores(self) -> dict[int, GresScores]:
        """Round → scores; of them, the benchmark reports `c_iou`."""
        return {number: self._rounds[number].scores() for number in sorted(self._rounds)}


def _share(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")
