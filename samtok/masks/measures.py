"""Boxes and areas of masks; the box convention of the whole project is set here.

Letters: N masks, H W pixels.
"""

import numpy as np

from samtok.errors import InputError


def compute_boxes(masks: np.ndarray) -> np.ndarray:
    """Box around each mask.

    Args:
        masks: bool, shape (N, H, W).

    Returns:
        float32, shape (N, 4): xyxy in pixels; x1 and y1 are the last pixel inside, as in
        torchvision's ``masks_to_boxes``, so a single pixel has x0 = x1.

    Raises:
        InputError: ``mask_empty``, naming the index.
    """
    columns: np.ndarray = np.any(masks, axis=1)
    rows: np.ndarray = np.any(masks, axis=2)
    empty = np.flatnonzero(~np.any(columns, axis=1))
    if len(empty):
        raise InputError("mask_empty", f"mask {empty[0]} of {len(masks)} has no pixel, so no box")
    (x0, x1), (y0, y1) = _first_and_last(columns), _first_and_last(rows)
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.float32)


def compute_areas(masks: np.ndarray) -> np.ndarray:
    """Pixels in each mask; masks bool (N, H, W) → int64 (N,)."""
    areas: np.ndarray = np.count_nonzero(masks, axis=(1, 2))
    return areas.astype(np.int64)


def _first_and_last(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if occupied.size == 0:
        empty = np.zeros(len(occupied), dtype=np.int64)
        return empty, empty
    last = occupied.shape[1] - 1 - np.argmax(occupied[:, ::-1], axis=1)
    return np.argmax(occupied, axis=1), last
