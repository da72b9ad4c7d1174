"""How well outlines agree: the boundary F score of DAVIS, which IoU of large masks hides.

Source: Perazzi et al., "A benchmark dataset and evaluation methodology for video object
segmentation", CVPR 2016, section 5.1, in the approximation of the published evaluation
(davis2017-evaluation, ``davis2017/metrics.py``): outlines one pixel wide, matched within a disc.

Letters: N masks, H W pixels.
"""

import math

import numpy as np

BOUNDARY_TOLERANCE = 0.008
"""Distance within which outlines agree, as a share of the image's diagonal."""


def boundary_tolerance_pixels(height: int, width: int) -> int:
    """Distance within which outlines agree, in whole pixels, rounded up, so at least 1."""
    return math.ceil(BOUNDARY_TOLERANCE * math.hypot(height, width))


def boundary_f_score(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Harmonic mean of boundary precision and recall, mask by mask.

    Precision is the share of the prediction's boundary pixels with one of the target's within
    `boundary_tolerance_pixels` (Euclidean), recall the same with the roles exchanged. The edge of
    the image is no boundary.

    Args:
        predictions: bool, shape (N, H, W).
        targets: bool, the same shape.

    Returns:
        float32, shape (N,), 0..1; 1 where neither has a boundary, 0 where only one has.

    Raises:
        ValueError: the shapes differ.
    """
    if predictions.shape != targets.shape or predictions.ndim != 3:
        raise ValueError(
            f"predictions {predictions.shape} and targets {targets.shape} must both be (N, H, W)"
        )
    tolerance = boundary_tolerance_pixels(*targets.shape[1:])
    scores = [_score(p, t, tolerance) for p, t in zip(predictions, targets, strict=True)]
    return np.array(scores, dtype=np.float32)


def find_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from their right, lower or lower right neighbour; bool (H, W) → same.

    So a boundary lies half a pixel towards the origin of the true one, for all masks alike. In the
    last row and column only the neighbour along them counts.
    """
    boundary = np.zeros_like(mask, dtype=bool)
    boundary[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    boundary[:-1] |= mask[:-1] ^ mask[1:]
    boundary[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return boundary


def _score(prediction: np.ndarray, target: np.ndarray, tolerance: int) -> float:
    predicted, true = find_boundary(prediction), find_boundary(target)
    num_predicted, num_true = np.count_nonzero(predicted), np.count_nonzero(true)
    if num_predicted == 0 or num_true == 0:
        return float(num_predicted == num_true)
    window = _window_of(predicted | true)
    predicted, true = predicted[window], true[window]
    precision = np.count_nonzero(predicted & _dilate(true, tolerance)) / num_predicted
    recall = np.count_nonzero(true & _dilate(predicted, tolerance)) / num_true
    return 2 * precision * recall / max(precision + recall, 1e-12)


def _window_of(occupied: np.ndarray) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(occupied.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _dilate(points: np.ndarray, radius: int) -> np.ndarray:
    """Pixels with a point within `radius`, Euclidean; bool (H, W) → same.

    A disc is a stack of runs, and a run contains a point where a running count rises.
    """
    height, width = points.shape
    counts = np.zeros((height, width + 2 * radius + 1), dtype=np.int32)
    np.cumsum(np.pad(points, ((0, 0), (radius, radius))), axis=1, out=counts[:, 1:])
    near = np.zeros_like(points)
    for offset in range(-min(radius, height - 1), min(radius, height - 1) + 1):
        reach = math.isqrt(radius**2 - offset**2)
        stops = counts[:, radius + reach + 1 : radius + reach + 1 + width]
        has_point = stops > counts[:, radius - reach : radius - reach + width]
        near[max(0, -offset) : height - max(0, offset)] |= has_point[
            max(0, offset) : height - max(0, -offset)
        ]
    return near
