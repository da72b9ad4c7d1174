"""Outlines of masks along pixel edges, and COCO polygons made of them.

The way out, for tools that want polygons; `samtok.metrics.baselines` simplifies the same outlines.
A polygon made here rasterises to exactly the mask it was made from.

Letters: H W pixels, P corners of a ring.
"""

from dataclasses import dataclass, field

import numpy as np

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))

_Point = tuple[int, int]
_Edge = tuple[int, int, int]
"""x and y where a unit edge begins, and its direction."""


def mask_to_polygons(mask: np.ndarray) -> list[list[float]]:
    """Outline a mask as COCO polygons, exactly.

    One polygon for each region of pixels connected through their sides; pixels that touch only at
    a corner are regions of their own. A hole is joined to the outline on its left by a slit without
    width, so that one closed line bounds the region.

    Args:
        mask: bool, shape (H, W).

    Returns:
        Flat lists [x, y, x, y, …] in pixels, corners at whole numbers; pixel (r, c) is the square
        from (c, r) to (c + 1, r + 1). Empty for an empty mask.

    Source: ours.
    """
    rings = [_Ring(edges) for edges in _walk_edges(mask)]
    place = {
        edge: (ring, position)
        for ring in rings
        for position, edge in enumerate(ring.edges)
        if edge[2] == _UP
    }
    holes = [ring for ring in rings if ring.signed_area < 0]
    # Rightmost first: a hole joins a ring that reaches further left, so its own joins are done.
    for hole in sorted(holes, key=lambda hole: min(hole.edges), reverse=True):
        _join_hole(hole, mask, place)
    outer = [ring for ring in rings if ring.signed_area > 0]
    return [_drop_straight_corners(ring.draw()).ravel().astype(float).tolist() for ring in outer]


def trace_rings(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of a mask along pixel edges: of regions, and of the holes in them.

    Args:
        mask: bool, shape (H, W).

    Returns:
        int64, shapes (P, 2): xy corners, the mask to the right of the line as one walks it. With y
        pointing down, the shoelace area is positive for outer outlines and negative for holes.
    """
    return [_drop_straight_corners(_Ring(edges).draw()) for edges in _walk_edges(mask)]


@dataclass(slots=True, eq=False)
class _Ring:
    edges: list[_Edge]
    joined: dict[int, list[list[_Point]]] = field(default_factory=dict)
    """Closed paths of holes, to be visited from the start of the edge at this position."""

    @property
    def signed_area(self) -> int:
        """Positive for outer outlines, negative for holes."""
        return sum(x * _STEPS[direction][1] for x, _, direction in self.edges)

    def draw(self, first: int = 0) -> list[_Point]:
        """Corners along the ring from one position on, with the holes joined to it."""
        points: list[_Point] = []
        for offset in range(len(self.edges)):
            position = (first + offset) % len(self.edges)
            x, y, _ = self.edges[position]
            points.append((x, y))
            for path in self.joined.get(position, ()):
                points += [*path, (x, y)]
        return points


def _walk_edges(mask: np.ndarray) -> list[list[_Edge]]:
    """Unit edges between mask and background, chained into rings, the mask on the right."""
    leaving = _find_edges(mask)
    rings = []
    seen: set[_Edge] = set()
    # Every ring goes right somewhere, so starting from those edges finds them all.
    for start in [(x, y, _RIGHT) for (x, y), found in leaving.items() if found & 1 << _RIGHT]:
        if start in seen:
            continue
        ring = [start]
        while (edge := _follow(ring[-1], leaving)) != start:
            ring.append(edge)
        seen.update(edge for edge in ring if edge[2] == _RIGHT)
        rings.append(ring)
    return rings


def _follow(edge: _Edge, leaving: dict[_Point, int]) -> _Edge:
    """The edge after this one; where two pixels touch at a corner, the same pixel's."""
    x, y, direction = edge
    x, y = x + _STEPS[direction][0], y + _STEPS[direction][1]
    found = leaving[x, y]
    turns = ((direction + turn) % 4 for turn in (1, 0, 3))
    return x, y, next(turn for turn in turns if found & 1 << turn)


def _find_edges(mask: np.ndarray) -> dict[_Point, int]:
    """Bits of the directions in which edges leave a corner, for corners with any."""
    padded = np.pad(mask.astype(bool), 1)
    here, above = padded[1:, 1:], padded[:-1, 1:]
    left, above_left = padded[1:, :-1], padded[:-1, :-1]
    bits = (here & ~above).astype(np.uint8) << _RIGHT
    bits |= (left & ~here).astype(np.uint8) << _DOWN
    bits |= (above_left & ~left).astype(np.uint8) << _LEFT
    bits |= (above & ~above_left).astype(np.uint8) << _UP
    ys, xs = np.nonzero(bits)
    return dict(zip(zip(xs.tolist(), ys.tolist(), strict=True), bits[ys, xs].tolist(), strict=True))


def _join_hole(hole: _Ring, mask: np.ndarray, place: dict[_Edge, tuple[_Ring, int]]) -> None:
    """Hang a hole on the ring to its left, by a slit above the row of its leftmost edge."""
    x, y, _ = start = min(edge for edge in hole.edges if edge[2] == _DOWN)
    background = np.flatnonzero(~mask[y, :x])
    run_start = int(background[-1]) + 1 if len(background) else 0
    # The edge at the left end of the run goes up, so the slit arrives at the start of the next.
    ring, position = place[run_start, y + 1, _UP]
    path = [*hole.draw(hole.edges.index(start)), (x, y)]
    ring.joined.setdefault((position + 1) % len(ring.edges), []).append(path)


def _drop_straight_corners(points: list[_Point]) -> np.ndarray:
    """Keep the points where the line turns; int64, shape (P, 2)."""
    corners = np.array(points, dtype=np.int64)
    ahead = np.sign(np.roll(corners, -1, axis=0) - corners)
    turns: np.ndarray = corners[(ahead != np.roll(ahead, 1, axis=0)).any(axis=1)]
    return turns
