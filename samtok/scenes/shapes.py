"""Shapes as yes-or-no functions of the plane: exact masks need no antialiasing.

Every function takes local coordinates `u` (right) and `v` (down), float arrays of one shape in
which the figure spans about -1..1, and gives bool: inside or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.floating]
Inside: TypeAlias = NDArray[np.bool_]
Shape: TypeAlias = Callable[[Plane, Plane], Inside]


def _disc(u: Plane, v: Plane) -> Inside:
    return u * u + v * v <= 1


def _ellipse(u: Plane, v: Plane) -> Inside:
    return u * u + (v / 0.55) ** 2 <= 1


def _box(half_width: float, half_height: float) -> Shape:
    return lambda u, v: (np.abs(u) <= half_width) & (np.abs(v) <= half_height)


def _triangle(u: Plane, v: Plane) -> Inside:
    return (v <= 0.75) & (v >= -1 + 1.75 * np.abs(u))


def _star(u: Plane, v: Plane) -> Inside:
    fifth = (np.arctan2(u, -v) / (2 * np.pi) * 5) % 1
    return np.hypot(u, v) <= 0.42 + 0.58 * np.abs(2 * fifth - 1)


def _ring(u: Plane, v: Plane) -> Inside:
    squared = u * u + v * v
    return (squared <= 1) & (squared >= 0.36)


def _cross(u: Plane, v: Plane) -> Inside:
    across, down = np.abs(u), np.abs(v)
    return (np.minimum(across, down) <= 0.33) & (np.maximum(across, down) <= 1)


def _crescent(u: Plane, v: Plane) -> Inside:
    return (u * u + v * v <= 1) & ((u - 0.45) ** 2 + v * v > 0.64)


def _heart(u: Plane, v: Plane) -> Inside:
    x, y = 1.15 * np.abs(u), -1.15 * v + 0.1
    inside: Inside = (x * x + y * y - 1) ** 3 <= x * x * y * y * y
    return inside


def _corner(u: Plane, v: Plane) -> Inside:
    return ((u <= -0.4) | (v >= 0.4)) & (np.abs(u) <= 1) & (np.abs(v) <= 1)


def _arrow(u: Plane, v: Plane) -> Inside:
    shaft = (np.abs(v) <= 0.2) & (np.abs(u + 0.35) <= 0.65)
    head = (u >= 0.2) & (np.abs(v) <= 0.85 * (1 - u))
    inside: Inside = shaft | head
    return inside


def _leaf(u: Plane, v: Plane) -> Inside:
    inside: Inside = np.maximum((v - 0.65) ** 2, (v + 0.65) ** 2) + u * u <= 1.35
    return inside


def _half_disc(u: Plane, v: Plane) -> Inside:
    return (u * u + v * v <= 1) & (v <= 0)


SHAPES: Final[dict[str, Shape]] = {
    "circle": _disc,
    "ellipse": _ellipse,
    "square": _box(0.85, 0.85),
    "rectangle": _box(1.0, 0.5),
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "crescent": _crescent,
    "heart": _heart,
    "L-shape": _corner,
    "arrow": _arrow,
    "leaf": _leaf,
    "dome": _half_disc,
}
"""Compact figures, by the name that language uses."""

THIN_SHAPES: Final[tuple[str, ...]] = ("bar", "hoop")
"""Figures a few pixels across; their thickness is set when they are drawn."""


def thin_shape(name: str, thickness: float) -> Shape:
    """A bar or hoop whose line is `thickness` of its half length (its radius) wide, in (0, 1)."""
    if name == "bar":
        return _box(1.0, thickness / 2)
    return lambda u, v: np.abs(np.hypot(u, v) - (1 - thickness / 2)) <= thickness / 2
