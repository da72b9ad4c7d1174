"""Drawing: figures onto a canvas that remembers whose every pixel is.

A pixel belongs to the topmost figure that covers its centre, so masks need no antialiasing.

Letters: H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samtok.scenes.paint import paint_background, paint_object
from samtok.scenes.plan import PlannedObject

NOBODY = -1


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is painted, and by whom."""

    picture: np.ndarray
    """float32, shape (H, W, 3)."""
    owners: np.ndarray
    """int16, shape (H, W): position in the plan of the topmost object, or :data:`NOBODY`."""
    beneath: np.ndarray
    """int16, shape (H, W): the owner that the present one was painted over."""

    @classmethod
    def with_background(cls, height: int, width: int, rng: np.random.Generator) -> Canvas:
        """A background, and nobody on it."""
        return cls(
            picture=paint_background(height, width, rng),
            owners=np.full((height, width), NOBODY, dtype=np.int16),
            beneath=np.full((height, width), NOBODY, dtype=np.int16),
        )


def draw_all(planned: list[PlannedObject], canvas: Canvas, rng: np.random.Generator) -> list[int]:
    """Draw a plan from back to front.

    Args:
        planned: wholes stand right before their parts.
        canvas: painted on.
        rng: shades and textures.

    Returns:
        For each planned object how many pixels of the picture its figure covers, hidden or not;
        a whole counts with its parts.
    """
    figure_pixels: list[int] = []
    for order, item in enumerate(planned):
        figure_pixels.append(_draw(item, order, canvas, rng))
        if item.part_of is not None:
            # Parts follow their whole at once, so nothing else owns pixels from its position on.
            figure_pixels[item.part_of] = int((canvas.owners >= item.part_of).sum())
    return figure_pixels


def _draw(item: PlannedObject, order: int, canvas: Canvas, rng: np.random.Generator) -> int:
    """Draw one object over what is there; returns how many pixels its figure covers."""
    height, width = canvas.owners.shape
    reach = item.radius * 1.45
    top, bottom = max(0, int(item.y - reach)), min(height, int(item.y + reach) + 2)
    left, right = max(0, int(item.x - reach)), min(width, int(item.x + reach) + 2)
    if top >= bottom or left >= right:
        return 0
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(item.y)
    dx = np.arange(left, right, dtype=np.float32)[None] - np.float32(item.x)
    cos, sin = np.float32(np.cos(item.angle)), np.float32(np.sin(item.angle))
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    inside = item.figure(along / item.radius, across / item.radius)
    canvas.picture[top:bottom, left:right][inside] = paint_object(
        item.color, item.texture, along[inside], across[inside], rng
    )
    owners = canvas.owners[top:bottom, left:right]
    canvas.beneath[top:bottom, left:right][inside] = owners[inside]
    owners[inside] = order
    return int(inside.sum())
