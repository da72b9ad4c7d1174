"""How well predicted masks cover the true ones: IoU, COCO's size bins, and the gRefCOCO numbers.

Letters: N masks, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AREA_BINS = {"small": 32**2, "medium": 96**2, "large": float("inf")}
"""COCO's size bins: name → the area, in pixels, below which a mask belongs to it."""

FINE_AREA_BINS = {
    "< 64": 64,
    "< 128": 128,
    "< 256": 256,
    "< 512": 512,
    "< 1,024": 1024,
    "< 4,096": 4096,
    "< 16,384": 16384,
    "< 65,536": 65536,
    ">= 65,536": float("inf"),
}
"""Finer bins of ours, since most of what two words lose is lost on small masks; as `AREA_BINS`."""

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
    num_skipped: int
    """Pairs of different shapes: left out of both IoUs, but counted in `t_acc`."""


def mask_iou(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Intersection over union of masks, one by one.

    Args:
        predictions: bool, shape (N, H, W).
        targets: bool, the same shape.

    Returns:
        float32, shape (N,), 0..1; two empty masks agree, so theirs is 1.

    Raises:
        ValueError: the shapes differ, which broadcasting would hide.
    """
    if predictions.shape != targets.shape or predictions.ndim != 3:
        raise ValueError(
            f"predictions {predictions.shape} and targets {targets.shape} must both be (N, H, W)"
        )
    intersection = np.count_nonzero(predictions & targets, axis=(1, 2))
    union = np.count_nonzero(predictions | targets, axis=(1, 2))
    iou = np.where(union == 0, 1.0, intersection / np.maximum(union, 1))
    return iou.astype(np.float32)


def area_bin(area: float) -> str:
    """Name of the size bin of a mask of this many pixels: "small", "medium" or "large"."""
    return next(name for name, limit in AREA_BINS.items() if area < limit)


def fine_area_bin(area: float) -> str:
    """Name of the bin of `FINE_AREA_BINS` of a mask of this many pixels."""
    return next(name for name, limit in FINE_AREA_BINS.items() if area < limit)


def evaluate_gres(predictions: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> GresScores:
    """Score one prediction per sample as the published gRefCOCO evaluation does.

    Args:
        predictions: bool, shapes (H, W), one per sample; all False where no target is predicted.
            Several masks of one answer are merged by union before.
        targets: bool, shapes (H, W), in the same order; all False where the sample has no target.

    Returns:
        Scores in 0..1; the published evaluator prints them times 100, and fails instead of giving
        NaN when the samples are all with or all without a target.

    Raises:
        ValueError: not the same number of predictions and targets.
    """
    pairs = list(zip(predictions, targets, strict=True))
    found = np.array([[bool(p.any()), bool(t.any())] for p, t in pairs], dtype=bool).reshape(-1, 2)
    predicted, present = found.T
    comparable = [(p, t) for p, t in pairs if p.shape == t.shape]
    areas = np.array([_overlap(p, t) for p, t in comparable], dtype=np.int64).reshape(-1, 2)
    intersections, unions = areas.T
    has_target = np.array([bool(t.any()) for _, t in comparable], dtype=bool)
    terms = np.where(has_target, intersections / (unions + _EPSILON_PER_SAMPLE), unions == 0)
    return GresScores(
        g_iou=_mean(terms),
        c_iou=float(intersections.sum() / (unions.sum() + _EPSILON_OF_SUMS)),
        n_acc=_mean(~predicted[~present]),
        t_acc=_mean(predicted[present]),
        num_skipped=len(pairs) - len(comparable),
    )


def _overlap(prediction: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    return int((prediction & target).sum()), int((prediction | target).sum())


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
