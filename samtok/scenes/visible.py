"""From a drawn canvas to masks: what can be seen, how much of it, and in front of what.

Letters: H W pixels, N masks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from samtok.scenes.canvas import Canvas
from samtok.scenes.plan import PlannedObject
from samtok.scenes.scene import SceneConfig, SceneObject

_MIN_COVERED_PIXELS: Final = 10
"""Fewer than this are not called "in front of" by a person either."""


def collect_visible(
    planned: list[PlannedObject], figure_pixels: list[int], canvas: Canvas, config: SceneConfig
) -> tuple[np.ndarray, tuple[SceneObject, ...], tuple[SceneObject, ...]]:
    """Find what of a drawn plan can be seen.

    Args:
        planned: what was drawn.
        figure_pixels: pixels of each figure, hidden or not.
        canvas: drawn on.
        config: what is too little to get a mask.

    Returns:
        Masks, bool, shape (N, H, W); the N objects; and things that show too little for a mask.
    """
    members = [_list_members(planned, order) for order in range(len(planned))]
    masks: list[np.ndarray] = []
    objects: list[SceneObject] = []
    faint: list[SceneObject] = []
    kept_at: dict[int, int] = {}
    for order, item in enumerate(planned):
        mask = _find_pixels(canvas.owners, members[order])
        area = int(mask.sum())
        if area == 0:
            continue
        share = area / figure_pixels[order]
        part_of = None if item.part_of is None else kept_at.get(item.part_of)
        if area < config.min_visible_pixels or share < config.min_visible_share:
            faint.append(_describe(item, mask, "", share, part_of, order))
            continue
        kept_at[order] = len(objects)
        masks.append(mask)
        objects.append(_describe(item, mask, str(len(objects)), share, part_of, order))
    kept_members = [members[order] for order in kept_at]
    objects = _add_coverings(objects, kept_members, planned, canvas)
    stacked = np.stack(masks) if masks else np.zeros((0, *canvas.owners.shape), dtype=bool)
    return stacked, tuple(objects), tuple(faint)


def _list_members(planned: list[PlannedObject], order: int) -> list[int]:
    """An object and its parts, as positions in the plan."""
    return [order, *(i for i, other in enumerate(planned) if other.part_of == order)]


def _find_pixels(owners: np.ndarray, members: list[int]) -> np.ndarray:
    """Mask of the pixels that any of the members owns."""
    mask: np.ndarray = owners == members[0] if len(members) == 1 else np.isin(owners, members)
    return mask


def _describe(
    item: PlannedObject,
    mask: np.ndarray,
    mask_id: str,
    visible_share: float,
    part_of: int | None,
    order: int,
) -> SceneObject:
    rows, columns = np.nonzero(mask)
    return SceneObject(
        mask_id=mask_id,
        category=item.category,
        color=item.color,
        texture=item.texture,
        box=(int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())),
        area=len(rows),
        center=(float(columns.mean()), float(rows.mean())),
        visible_share=visible_share,
        is_thin=item.is_thin,
        part_of=part_of,
        depth=order,
    )


def _add_coverings(
    objects: list[SceneObject],
    members: list[list[int]],
    planned: list[PlannedObject],
    canvas: Canvas,
) -> list[SceneObject]:
    """Say of each object what it covers a piece of; not of a whole and its own parts."""
    if not objects:
        return objects
    roots = np.array([i if p.part_of is None else p.part_of for i, p in enumerate(planned)])
    touched = (canvas.owners >= 0) & (canvas.beneath >= 0)
    pairs = canvas.owners[touched].astype(np.int64) * len(planned) + canvas.beneath[touched]
    pixels = np.bincount(pairs, minlength=len(planned) ** 2).reshape(len(planned), -1)
    pixels[roots[:, None] == roots] = 0
    belongs = np.zeros((len(objects), len(planned)), dtype=np.int64)
    for position, orders in enumerate(members):
        belongs[position, orders] = 1
    covers = belongs @ pixels @ belongs.T >= _MIN_COVERED_PIXELS
    return [
        replace(item, in_front_of=tuple(np.flatnonzero(row).tolist()))
        for item, row in zip(objects, covers, strict=True)
    ]
