"""What other short texts keep of a mask: its box, or a polygon of few vertices.

Yardsticks for two mask words: a box is four numbers, an 8-vertex polygon sixteen.

Letters: H W pixels, P corners.
"""

import heapq

import numpy as np

from samtok.masks import compute_boxes, trace_rings
from samtok.masks.rle import rasterize_polygons
from samtok.metrics.segmentation import mask_iou

# A polygon that crosses itself has hardly any area; it is not worth blowing up.
_MAX_SWELLING = 2.0


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


def polygon_reconstruction(mask: np.ndarray, num_vertices: int = 8) -> np.ndarray:
    """Fill a polygon of few vertices around the largest region of a mask, holes left out.

    The vertices are corners of the outline; since a polygon through them cuts off what is round,
    it is also tried swollen to the outline's area, and the better of the two is given.

    Args:
        mask: bool, shape (H, W).
        num_vertices: most vertices the polygon may have, 3 or more.

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
            rasterize_polygons([centre + (vertices - centre) * scale], *mask.shape)
            for scale in (1.0, swelling)
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
