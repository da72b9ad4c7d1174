"""Dense supervision of the vision tower: which thing is where, for every cell of the picture.

Letters: B images, N objects, G cells along a side, T image tokens along a side, C channels.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samtok.mllm.pretraining.lessons import relative_box
from samtok.scenes import Scene
from samtok.scenes.paint import COLORS, TEXTURES
from samtok.scenes.plan import list_categories

CELL: Final = 4
"""Pixels along a side of a cell."""
_CELLS_PER_TOKEN: Final = 4
"""Along a side: a token of the tiny model covers 16 pixels."""
_CATEGORIES, _COLORS, _TEXTURES = list_categories(), tuple(COLORS), TEXTURES
_OUTPUTS: Final = (len(_COLORS) + 1, len(_CATEGORIES), len(_TEXTURES), 4)
"""Colour or background, category, texture, box."""


class DenseTargets(NamedTuple):
    """What is in every cell."""

    color: Tensor
    """int64, shape (B, G, G): 0 background, else 1 + position in `paint.COLORS`."""
    category: Tensor
    """int64, shape (B, G, G): position in the list of categories, -100 for background."""
    texture: Tensor
    """int64, shape (B, G, G): position in `paint.TEXTURES`, -100 for background."""
    box: Tensor
    """float32, shape (B, G, G, 4): xyxy, fractions of the picture; 0 for background."""


def make_dense_targets(scenes: list[Scene]) -> DenseTargets:
    """The smallest object over each cell's centre; scenes of one size."""
    height, width = scenes[0].image.shape[:2]
    rows, columns = height // CELL, width // CELL
    labels = np.full((3, len(scenes), rows, columns), -100, dtype=np.int64)
    labels[0] = 0
    boxes = np.zeros((len(scenes), rows, columns, 4), dtype=np.float32)
    for index, scene in enumerate(scenes):
        inside = scene.masks[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
        for at in np.argsort([-thing.area for thing in scene.objects], kind="stable"):
            thing, cells = scene.objects[at], inside[at]
            labels[0, index][cells] = 1 + _COLORS.index(thing.color)
            labels[1, index][cells] = _CATEGORIES.index(thing.category)
            labels[2, index][cells] = _TEXTURES.index(thing.texture)
            boxes[index][cells] = relative_box(scene, thing)
    color, category, texture = torch.from_numpy(labels)
    return DenseTargets(color, category, texture, torch.from_numpy(boxes))


class DenseHead(nn.Module):
    """Reads the cells of an image token from it; thrown away after pretraining.

    Args:
        width: channels C of an image token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, _CELLS_PER_TOKEN**2 * sum(_OUTPUTS))

    def forward(self, tokens: Tensor, targets: DenseTargets) -> dict[str, Tensor]:
        """Compare.

        Args:
            tokens: shape (B T T, C), row by row, as the vision tower gives them.
            targets: of the B images.

        Returns:
            Scalars ``color``, ``category``, ``texture`` (cross entropies) and ``box`` (L1), and
            the shares ``color_right`` and ``category_right`` of the covered cells.
        """
        num_images, side = targets.color.shape[0], targets.color.shape[1] // _CELLS_PER_TOKEN
        cells = self.linear(self.norm(tokens)).view(
            num_images, side, side, _CELLS_PER_TOKEN, _CELLS_PER_TOKEN, -1
        )
        cells = cells.permute(0, 1, 3, 2, 4, 5).flatten(0, 4)  # as the targets, flattened
        color, category, texture, box = cells.split(_OUTPUTS, dim=-1)
        wanted = DenseTargets(*(target.flatten(0, 2) for target in targets))
        covered = wanted.color > 0
        num_covered = covered.sum().clamp(min=1)
        return {
            "color": F.cross_entropy(color, wanted.color),
            "category": F.cross_entropy(category, wanted.category),
            "texture": F.cross_entropy(texture, wanted.texture),
            "box": ((box - wanted.box).abs().mean(-1) * covered).sum() / num_covered,
            "color_right": ((color.argmax(-1) == wanted.color) & covered).sum() / num_covered,
            "category_right": (category.argmax(-1) == wanted.category).sum() / num_covered,
        }
