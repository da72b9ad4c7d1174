"""Referring comprehension (REC): is the box of the predicted mask the right box?

Letters: N boxes, H W pixels.
"""

from __future__ import annotations

import numpy as np

from samtok.masks import compute_boxes

IOU_THRESHOLD = 0.5
"""A box is right from this IoU on; RefCOCO's convention."""


def box_iou(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes, one by one.

    Args:
        predictions: float, shape (N, 4): xyxy in pixels; x1 and y1 are the last pixel inside, as
            `samtok.masks` gives them, so a box is one pixel wider than x1 - x0.
        targets: float, the same shape.

    Returns:
        float64, shape (N,), 0..1.
    """
    first = np.maximum(predictions[:, :2], targets[:, :2])
    last = np.minimum(predictions[:, 2:], targets[:, 2:])
    intersection = (last - first + 1).clip(0).prod(axis=1, dtype=np.float64)
    areas = [
        (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1, dtype=np.float64)
        for boxes in (predictions, targets)
    ]
    ratio: np.ndarray = intersection / (areas[0] + areas[1] - intersection)
    return ratio


def has_right_box(prediction: np.ndarray, target: np.ndarray) -> bool:
    """Whether a predicted mask's box is right, for an expression with one target.

    Args:
        prediction: bool, shape (H, W): all predicted masks merged; empty counts as wrong.
        target: bool, the same shape, not empty.

    Raises:
        InputError: ``mask_empty``: there is no target.
    """
    target_box = compute_boxes(target[None])
    if not prediction.any():
        return False
    return bool(box_iou(compute_boxes(prediction[None]), target_box)[0] >= IOU_THRESHOLD)
