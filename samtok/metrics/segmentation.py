"""How well predicted masks cover the true ones: overlap, IoU, and COCO's size bins.

Letters: N masks, P predicted and T true ones, H W pixels.
"""

from typing import NamedTuple

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


class Overlap(NamedTuple):
    """How a predicted mask lies on the true one, in pixels; all that most scores need of a pair."""

    intersection: int
    prediction_area: int
    target_area: int

    @property
    def union(self) -> int:
        """Pixels in either."""
        return self.prediction_area + self.target_area - self.intersection

    @property
    def iou(self) -> float:
        """0..1; two empty masks agree, so theirs is 1."""
        return self.intersection / self.union if self.union else 1.0


def measure_overlap(prediction: np.ndarray, target: np.ndarray) -> Overlap:
    """Count the pixels of a pair of masks.

    Args:
        prediction: bool, shape (H, W).
        target: bool, the same shape.

    Raises:
        ValueError: the shapes differ, which broadcasting would hide.
    """
    if prediction.shape != target.shape or prediction.ndim != 2:
        raise ValueError(
            f"prediction {prediction.shape} and target {target.shape} must both be (H, W)"
        )
    return Overlap(
        intersection=int(np.count_nonzero(prediction & target)),
        prediction_area=int(np.count_nonzero(prediction)),
        target_area=int(np.count_nonzero(target)),
    )


def pairwise_iou(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Intersection over union of every predicted mask with every true one.

    Args:
        predictions: bool, shape (P, H, W).
        targets: bool, shape (T, H, W).

    Returns:
        float64, shape (P, T), 0..1; two empty masks agree, so theirs is 1.

    Raises:
        ValueError: the masks are not of one size.
    """
    if predictions.ndim != 3 or targets.ndim != 3 or predictions.shape[1:] != targets.shape[1:]:
        raise ValueError(
            f"predictions {predictions.shape} and targets {targets.shape} must be (P, H, W) and "
            "(T, H, W)"
        )
    intersection = np.array(
        [np.count_nonzero(targets & mask, axis=(1, 2)) for mask in predictions], dtype=np.int64
    ).reshape(len(predictions), len(targets))
    areas = [np.count_nonzero(masks, axis=(1, 2)) for masks in (predictions, targets)]
    union = areas[0][:, None] + areas[1] - intersection
    ious: np.ndarray = np.where(union == 0, 1.0, intersection / np.maximum(union, 1))
    return ious


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
