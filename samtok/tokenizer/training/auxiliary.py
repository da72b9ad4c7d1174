"""Heads that help a model that starts from nothing, and are thrown away with the training.

A randomly started tokenizer gets no useful gradient until its decoder has found out where the
mask vector points, and its backbone none until then. Two heads shorten that: one reads the box from
the mask vector, so that the vector says where; one reads objects off the image's maps, so that the
backbone learns to see at once. (Ours; the published recipe starts from a pretrained SAM 2.1.)

Dimension letters: B images, N masks, C channels, S side of the finest map in cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from samtok.tokenizer.network import ImageFeatures

_HIDDEN = 64
_BOX_BETA = 0.1
_MAP_BETA = 0.05


class BoxHead(nn.Module):
    """Reads the box of a mask from its vector.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.box = nn.Linear(channels, 4)

    def forward(self, vectors: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Sum over masks of the mean smooth L1 distance.

        Args:
            vectors: float32, shape (N, C).
            boxes: float32, shape (N, 4), xyxy fractions.

        Returns:
            float32, scalar.
        """
        error = F.smooth_l1_loss(self.box(vectors), boxes, beta=_BOX_BETA, reduction="none")
        return error.mean(1).sum()


class ObjectMapHead(nn.Module):
    """Says of every cell of an image whether a mask covers it, and the box of the smallest such.

    Args:
        channels: C of the coarsest map; the finer ones have a quarter and an eighth.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.image = nn.Conv2d(channels, _HIDDEN, 1)
        self.middle = nn.Conv2d(channels // 4, _HIDDEN, 1)
        self.fine = nn.Conv2d(channels // 8, _HIDDEN, 1)
        self.out = nn.Conv2d(_HIDDEN, 5, 1)

    def forward(
        self,
        features: ImageFeatures,
        mask_prompts: torch.Tensor,
        boxes: torch.Tensor,
        image_index: torch.Tensor,
    ) -> torch.Tensor:
        """Sum over images of cross entropy (mean over cells) and box distance (mean over objects').

        Args:
            features: of B images.
            mask_prompts: float32, shape (N, S, S), 0..1.
            boxes: float32, shape (N, 4), xyxy fractions.
            image_index: int64, shape (N,).

        Returns:
            float32, scalar.
        """
        side = features.fine.shape[-1]
        maps = self.image(features.image), self.middle(features.middle)
        hidden = self.fine(features.fine) + sum(
            F.interpolate(m, size=(side, side), mode="bilinear", align_corners=False) for m in maps
        )
        predicted = self.out(F.gelu(hidden)).float()
        covered, offsets = draw_object_maps(mask_prompts, boxes, image_index, len(predicted))
        cells = F.binary_cross_entropy_with_logits(predicted[:, 0], covered, reduction="none")
        distance = F.smooth_l1_loss(predicted[:, 1:], offsets, beta=_MAP_BETA, reduction="none")
        share = covered / covered.sum((1, 2), keepdim=True).clamp_min(1)
        return cells.mean((1, 2)).sum() + (distance.sum(1) * share).sum()


@torch.no_grad()
def draw_object_maps(
    mask_prompts: torch.Tensor, boxes: torch.Tensor, image_index: torch.Tensor, num_images: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the object map should say.

    Args:
        mask_prompts: float32, shape (N, S, S), 0..1.
        boxes: float32, shape (N, 4), xyxy fractions.
        image_index: int64, shape (N,).
        num_images: B.

    Returns:
        Whether a mask covers the cell, float32 0/1, shape (B, S, S); and the box of the smallest
        mask there relative to the cell's centre, xyxy fractions, shape (B, 4, S, S), 0 elsewhere.
    """
    side, count = mask_prompts.shape[-1], len(mask_prompts)
    inside = (mask_prompts > 0.5).to(boxes.dtype)
    order = inside.sum((1, 2)).argsort(descending=True, stable=True)
    height = torch.empty_like(order).index_copy_(
        0, order, torch.arange(1, count + 1, device=order.device)
    )
    top = inside.new_zeros(num_images, side, side)  # the smallest mask is the highest
    rows = image_index[:, None, None].expand_as(inside)
    top.scatter_reduce_(0, rows, inside * height[:, None, None], "amax")
    covered = (top > 0).to(boxes.dtype)
    corners = boxes[order][top.long().sub(1).clamp_min(0)].movedim(-1, 1)
    centres = (torch.arange(side, device=boxes.device) + 0.5) / side
    x, y = centres.expand(side, side), centres.unsqueeze(1).expand(side, side)
    return covered, (corners - torch.stack([x, y, x, y])) * covered.unsqueeze(1)
