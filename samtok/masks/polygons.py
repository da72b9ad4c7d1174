"""Checking and clipping of COCO polygons, so that the rasteriser only sees what it can bear.

Between the raw ``segmentation`` of an annotation and `rle.rasterize_polygons`. A polygon that lies
in or near the image is passed on untouched, so that its mask is what pycocotools makes of it.

Letters: P points of a part.
"""

from collections.abc import Sequence
from reprlib import repr as shorten
from typing import Any

import numpy as np

from samtok.errors import InputError

MAX_OUTLINE_PIXELS = 2**22
"""Longest outline of all parts together, in pixels, points counted too: bounds the rasteriser's
memory (some 80 bytes for each) and time."""

_SEQUENCES = (list, tuple, np.ndarray)
_MIN_POINTS = 3
# Outlines reaching further out than this (or one image side) are cut there. Far enough from the
# image that the rounding of the cut cannot move a pixel in it, and small enough for 32-bit
# coordinates in fifths of a pixel.
_MAX_MARGIN_PIXELS = 2**16


def read_polygons(segmentation: Sequence[Any], height: int, width: int) -> list[np.ndarray]:
    """Check the parts of a polygon and cut off what lies far outside the image.

    Args:
        segmentation: flat lists [x, y, x, y, …] in pixels, one for each part; any finite values.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        float64, shapes (P, 2), xy pixels, P ≥ 3, one for each part that comes near the image.

    Raises:
        InputError: ``segmentation_malformed``, ``polygon_not_a_number``,
            ``polygon_odd_coordinates``, ``polygon_too_few_points``, ``polygon_too_complex`` or
            ``polygon_outside_image`` (all parts are); the detail names the part.
    """
    parts = [_read_part(part, position) for position, part in enumerate(segmentation)]
    near = [cut for part in parts if len(cut := _cut_far_parts(part, height, width)) >= _MIN_POINTS]
    if not near:
        raise InputError("polygon_outside_image", _describe_outside(parts, height, width))
    length = sum(len(part) + _measure_outline(part) for part in near)
    if length > MAX_OUTLINE_PIXELS:
        detail = f"outlines of {length:.0f} pixels; at most {MAX_OUTLINE_PIXELS} are rasterised"
        raise InputError("polygon_too_complex", detail)
    return near


def explain_empty(parts: Sequence[np.ndarray], height: int, width: int) -> InputError:
    """Say why polygons gave no pixel: they lie outside of the image, or enclose no pixel centre."""
    size = np.array([width, height])
    if any(((part > 0) & (part < size)).all(axis=1).any() for part in parts):
        return InputError("mask_empty", "the polygon has points in the image but fills no pixel")
    return InputError("polygon_outside_image", _describe_outside(parts, height, width))


def _describe_outside(parts: Sequence[np.ndarray], height: int, width: int) -> str:
    points = np.concatenate(parts)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return (
        f"x from {x0:g} to {x1:g}, y from {y0:g} to {y1:g} does not meet the image "
        f"({width} by {height})"
    )


def _read_part(part: Any, position: int) -> np.ndarray:
    is_flat = isinstance(part, _SEQUENCES) and not (len(part) and isinstance(part[0], _SEQUENCES))
    if not is_flat:
        detail = f"part {position} is {shorten(part)}; expected a flat list [x, y, x, y, …]"
        raise InputError("segmentation_malformed", detail)
    numbers = _to_finite_numbers(part, position)
    if len(numbers) % 2:
        detail = f"part {position} has {len(numbers)} coordinates; they come in pairs"
        raise InputError("polygon_odd_coordinates", detail)
    if len(numbers) < 2 * _MIN_POINTS:
        detail = f"part {position} has {len(numbers) // 2} points; {_MIN_POINTS} are needed"
        raise InputError("polygon_too_few_points", detail)
    return numbers.reshape(-1, 2)


def _to_finite_numbers(part: Sequence[Any] | np.ndarray, position: int) -> np.ndarray:
    is_number = (int, float, np.integer, np.floating)
    wrong = [v for v in part if not isinstance(v, is_number) or isinstance(v, bool)]
    if not wrong:
        try:
            numbers = np.array(part, dtype=np.float64)
        except OverflowError:  # an integer beyond the range of floats
            numbers = np.array([np.inf])
        wrong = numbers[~np.isfinite(numbers)].tolist()
    if wrong:
        detail = f"part {position} has the coordinate {shorten(wrong[0])}; expected finite numbers"
        raise InputError("polygon_not_a_number", detail)
    return numbers


def _measure_outline(points: np.ndarray) -> float:
    """Length of a closed outline as the rasteriser walks it, in pixels."""
    steps = np.abs(np.roll(points, -1, axis=0) - points)
    return float(steps.max(axis=1).sum())


def _cut_far_parts(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Clip a polygon to the image and a margin around it; unchanged when it lies within."""
    margin = min(max(height, width), _MAX_MARGIN_PIXELS)
    for axis, side in enumerate((width, height)):
        points = _clip_half_plane(points, axis, -float(margin), keep_above=True)
        points = _clip_half_plane(points, axis, float(side + margin), keep_above=False)
    return points


def _clip_half_plane(
    points: np.ndarray, axis: int, bound: float, *, keep_above: bool
) -> np.ndarray:
    """Keep the side of a polygon above (or below) a bound of one coordinate.

    Source: Sutherland and Hodgman, "Reentrant Polygon Clipping", 1974, one half-plane.
    """
    inside = points[:, axis] >= bound if keep_above else points[:, axis] <= bound
    if inside.all():
        return points
    ahead = np.roll(points, -1, axis=0)
    crosses = inside != np.roll(inside, -1)
    start, stop = points[crosses], ahead[crosses]
    # Halves, and a weighted mean instead of a difference: finite even for coordinates of 1e308.
    # Corners beyond some 1e15 pixels lose the place of a slanted edge to rounding, no more.
    share = (bound / 2 - start[:, axis] / 2) / (stop[:, axis] / 2 - start[:, axis] / 2)
    cuts = np.zeros_like(points)
    cuts[crosses] = start * (1 - share[:, None]) + stop * share[:, None]
    cuts[crosses, axis] = bound
    kept: np.ndarray = np.stack([points, cuts], axis=1)[np.stack([inside, crosses], axis=1)]
    return kept
