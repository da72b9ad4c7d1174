"""What other short texts keep of a mask: its box, a polygon of few vertices, a small bitmap.

Yardsticks for two mask words, which are log2(256) = 8 bits each. `BASELINES` holds two families:
three descriptions of exactly those 16 bits, and the three people usually write, which are longer.
None of them sees the image. Each encoder is given what helps it (the better of two sizes, the best
choice of cells), so that the yardsticks are not easy to beat by their own clumsiness.

Letters: N masks, H W pixels, P corners, S side of a bitmap.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from samtok.masks import compute_boxes, trace_rings
from samtok.masks.rle import rasterize_polygons
from samtok.metrics.segmentation import mask_iou

BITS_PER_PIXEL_COORDINATE = 10
"""What a coordinate in whole pixels is counted as; enough for sides up to 1,024."""

# A polygon that crosses itself has hardly any area; it is not worth blowing up.
_MAX_SWELLING = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A short description of a mask, and what it keeps."""

    name: str
    """Stable, for columns and keys."""
    title: str
    """For people."""
    num_numbers: int
    """Numbers it writes."""
    num_bits: int
    """Bits of them all; a coordinate in pixels counts `BITS_PER_PIXEL_COORDINATE`."""
    rebuild: Callable[[np.ndarray], np.ndarray]
    """Mask → what its description gives back; bool (H, W) → bool (H, W)."""


def rebuild_all(
    masks: np.ndarray, baselines: Sequence[Baseline] | None = None
) -> dict[str, np.ndarray]:
    """Describe and rebuild every mask in every way.

    Args:
        masks: bool, shape (N, H, W), none empty.
        baselines: which; all of `BASELINES` where not given.

    Returns:
        Name of the baseline → bool, shape (N, H, W).
    """
    return {
        baseline.name: np.stack([baseline.rebuild(mask) for mask in masks])
        if len(masks)
        else np.zeros_like(masks)
        for baseline in (BASELINES if baselines is None else baselines)
    }


def box_reconstruction(mask: np.ndarray) -> np.ndarray:
    """Fill the box around a mask.

    Args:
        mask: bool, shape (H, W), not empty.

    Returns:
        bool, shape (H, W).

    Raises:
        InputError: ``mask_empty``.
    """
    x0, y0, x1, y1 = compute_boxes(mask[None])[0].astype(int)
    filled = np.zeros_like(mask, dtype=bool)
    filled[y0 : y1 + 1, x0 : x1 + 1] = True
    return filled


def coarse_box_reconstruction(mask: np.ndarray, num_levels: int = 16) -> np.ndarray:
    """Fill the box around a mask, its sides moved to the nearest of few lines over the image.

    The image is cut into `num_levels` strips each way; a box is the first and the last strip it
    takes, so it is never empty. Arguments and result as for `box_reconstruction`.
    """
    x0, y0, x1, y1 = compute_boxes(mask[None])[0]
    filled = np.zeros_like(mask, dtype=bool)
    rows = _nearest_strips(y0, y1 + 1, mask.shape[0], num_levels)
    columns = _nearest_strips(x0, x1 + 1, mask.shape[1], num_levels)
    filled[rows, columns] = True
    return filled


def bitmap_reconstruction(mask: np.ndarray, side: int) -> np.ndarray:
    """Cut the image into S by S cells and fill some: one bit a cell.

    The cells are those that give the best IoU: they are taken in order of how full they are while
    the IoU rises. So at least one is taken, where a threshold would lose small masks altogether.

    Args:
        mask: bool, shape (H, W), not empty.
        side: S, cells along each side; 1 or more. Cells of images that S does not divide differ
            by a pixel.

    Returns:
        bool, shape (H, W).
    """
    cell_of_row = np.arange(mask.shape[0]) * side // mask.shape[0]
    cell_of_column = np.arange(mask.shape[1]) * side // mask.shape[1]
    cells = (cell_of_row[:, None] * side + cell_of_column[None, :]).ravel()
    sizes = np.bincount(cells, minlength=side * side)
    inside = np.bincount(cells[mask.ravel()], minlength=side * side)
    order = np.argsort(-inside / np.maximum(sizes, 1), kind="stable")
    gained, taken = inside[order].cumsum(), sizes[order].cumsum()
    best = int((gained / (inside.sum() + taken - gained)).argmax())
    is_on = np.zeros(side * side, dtype=bool)
    is_on[order[: best + 1]] = True
    return is_on[cells].reshape(mask.shape)


def polygon_reconstruction(
    mask: np.ndarray, num_vertices: int = 8, num_levels: int | None = None
) -> np.ndarray:
    """Fill a polygon of few vertices around the largest region of a mask, holes left out.

    The vertices are corners of the outline; since a polygon through them cuts off what is round,
    it is also tried swollen to the outline's area, and the better of the two is given.

    Args:
        mask: bool, shape (H, W).
        num_vertices: most vertices the polygon may have, 3 or more.
        num_levels: values a coordinate may take, evenly from edge to edge of the image, 2 or more;
            whole pixels where not given.

    Returns:
        bool, shape (H, W); empty where the mask is, or where its polygon encloses no pixel centre.
    """
    rings = trace_rings(mask)
    if not rings:
        return np.zeros_like(mask, dtype=bool)
    outline = max(rings, key=_shoelace_area)
    vertices = simplify_ring(outline.astype(np.float64), num_vertices)
    centre = vertices.mean(axis=0)
    growth = _shoelace_area(outline) / max(_shoelace_area(vertices), 1.0)
    swelling = min(np.sqrt(growth), _MAX_SWELLING)
    candidates = np.stack(
        [
            rasterize_polygons([_snap(corners, mask.shape, num_levels)], *mask.shape)
            for corners in (vertices, centre + (vertices - centre) * swelling)
        ]
    )
    best: np.ndarray = candidates[mask_iou(candidates, np.stack([mask, mask])).argmax()]
    return best


def simplify_ring(points: np.ndarray, num_vertices: int) -> np.ndarray:
    """Drop corners of a closed line, each time the one whose removal changes the area least.

    Args:
        points: float64, shape (P, 2).
        num_vertices: how many to keep, 3 or more.

    Returns:
        float64, shape (min(P, num_vertices), 2), a subset of the points in their order.

    Raises:
        ValueError: num_vertices is below 3.

    Source: Visvalingam and Whyatt, "Line generalisation by repeated elimination of points", 1993.
    """
    if num_vertices < 3:
        raise ValueError(f"num_vertices is {num_vertices}; a polygon has at least 3")
    corners = points.tolist()
    size = len(corners)
    before = [(i - 1) % size for i in range(size)]
    after = [(i + 1) % size for i in range(size)]
    alive = [True] * size
    cost = [_triangle(corners[before[i]], corners[i], corners[after[i]]) for i in range(size)]
    queue = [(value, i) for i, value in enumerate(cost)]
    heapq.heapify(queue)
    remaining = size
    while remaining > num_vertices:
        value, i = heapq.heappop(queue)
        if not alive[i] or value != cost[i]:
            continue
        alive[i] = False
        remaining -= 1
        after[before[i]], before[after[i]] = after[i], before[i]
        for j in (before[i], after[i]):
            # Never cheaper than what was just dropped, or a long slope would be eaten step by step.
            cost[j] = max(value, _triangle(corners[before[j]], corners[j], corners[after[j]]))
            heapq.heappush(queue, (cost[j], j))
    kept: np.ndarray = points[np.array(alive)]
    return kept


def _triangle(a: list[float], b: list[float], c: list[float]) -> float:
    return abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])) / 2


def _shoelace_area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _nearest_strips(start: float, stop: float, length: int, num_strips: int) -> slice:
    """The pixels of the strips nearest to start..stop, at least one strip."""
    first = min(round(start / length * num_strips), num_strips - 1)
    last = max(round(stop / length * num_strips) - 1, first)
    edges = [strip * length / num_strips for strip in (first, last + 1)]
    return slice(*(round(edge) for edge in edges))


def _snap(corners: np.ndarray, shape: tuple[int, ...], num_levels: int | None) -> np.ndarray:
    """Move xy corners to the lattice they can be written on, inside the image."""
    limits = np.array([shape[1], shape[0]], dtype=np.float64)
    steps = limits if num_levels is None else np.full(2, num_levels - 1.0)
    snapped: np.ndarray = (corners / limits).clip(0, 1) * steps
    return snapped.round() / steps * limits


BASELINES: tuple[Baseline, ...] = (
    Baseline(
        name="box_16_bits",
        title="box on a 16 x 16 grid",
        num_numbers=4,
        num_bits=16,
        rebuild=coarse_box_reconstruction,
    ),
    Baseline(
        name="polygon_16_bits",
        title="triangle on a 6 x 6 grid",
        num_numbers=6,
        num_bits=16,  # 6 · log2(6) = 15.5; four vertices of 4 values fit too, and do worse
        rebuild=partial(polygon_reconstruction, num_vertices=3, num_levels=6),
    ),
    Baseline(
        name="bitmap_16_bits",
        title="4 x 4 bitmap",
        num_numbers=16,
        num_bits=16,
        rebuild=partial(bitmap_reconstruction, side=4),
    ),
    Baseline(
        name="box",
        title="box, pixels",
        num_numbers=4,
        num_bits=4 * BITS_PER_PIXEL_COORDINATE,
        rebuild=box_reconstruction,
    ),
    Baseline(
        name="polygon_8",
        title="8-vertex polygon, pixels",
        num_numbers=16,
        num_bits=16 * BITS_PER_PIXEL_COORDINATE,
        rebuild=partial(polygon_reconstruction, num_vertices=8),
    ),
    Baseline(
        name="bitmap_32",
        title="32 x 32 bitmap",
        num_numbers=1024,
        num_bits=1024,
        rebuild=partial(bitmap_reconstruction, side=32),
    ),
)
"""At equal length to two words (16 bits) first, then the generous ones."""
