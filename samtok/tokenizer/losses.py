"""Reconstruction losses: binary cross entropy and dice, on all cells or on sampled points.

The released training setting (paper, section 3.1): 2.0 x cross entropy + 0.5 x dice on points
chosen by uncertainty as in PointRend (arXiv 1912.08193), + 1.0 x commitment.

Dimension letters: N masks, P points, H W cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F

BCE_WEIGHT: Final = 2.0
DICE_WEIGHT: Final = 0.5
_DICE_SMOOTHING: Final = 1.0
_COUNT_GUARD: Final = 1e-4 + float(torch.finfo(torch.float32).eps)


class MaskLosses(NamedTuple):
    """Weighted losses of a batch; float32 scalars."""

    bce: torch.Tensor
    dice: torch.Tensor


def dense_mask_losses(logits: torch.Tensor, targets: torch.Tensor) -> MaskLosses:
    """Losses over all cells.

    Args:
        logits: float32, shape (N, H, W).
        targets: 0/1, any size (N, H', W'); brought to (H, W) by nearest neighbour.

    Returns:
        2.0 x mean cross entropy, and 0.5 x mean over masks of 1 - dice.
    """
    cells = F.interpolate(targets.unsqueeze(1).float(), size=logits.shape[-2:]).flatten(1)
    flat = logits.flatten(1)
    bce = F.binary_cross_entropy_with_logits(flat, cells)
    return MaskLosses(BCE_WEIGHT * bce, DICE_WEIGHT * dice_loss(flat, cells).mean())


def point_mask_losses(
    logits: torch.Tensor,
    targets: torch.Tensor | Sequence[torch.Tensor],
    points: torch.Tensor,
    *,
    foreground_weight: float = 1.0,
) -> MaskLosses:
    """Losses at sample points.

    Args:
        logits: float32, shape (N, H, W).
        targets: 0/1, shape (N, H', W'); or several such groups, each of its own size, whose rows
            in order make up the N masks.
        points: float32, shape (N, P, 2), (x, y) in 0..1 of the mask's extent.
        foreground_weight: cross entropy of inside points counts this many times (published: 1).

    Returns:
        As :func:`dense_mask_losses`; the means divide by counts guarded by 1e-4, as published.
    """
    groups = [targets] if isinstance(targets, torch.Tensor) else list(targets)
    values = sample_points(logits, points)
    wanted = torch.cat(
        [
            sample_points(group.float(), part)
            for group, part in zip(groups, points.split([len(g) for g in groups]), strict=True)
        ]
    )
    num_masks, num_points = values.shape
    weight = 1 + (foreground_weight - 1) * wanted
    bce = F.binary_cross_entropy_with_logits(values, wanted, weight, reduction="sum")
    dice = dice_loss(values, wanted).sum()
    return MaskLosses(
        BCE_WEIGHT * bce / (num_masks * num_points + _COUNT_GUARD),
        DICE_WEIGHT * dice / (num_masks + _COUNT_GUARD),
    )


def dice_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 - (2 sum(p t) + 1) / (sum p + sum t + 1) per row, p the sigmoid; shapes (N, P) to (N,)."""
    inside = logits.sigmoid()
    overlap = 2 * (inside * targets).sum(1) + _DICE_SMOOTHING
    return 1 - overlap / (inside.sum(1) + targets.sum(1) + _DICE_SMOOTHING)


def sample_points(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Bilinear values of (N, H, W) maps at (N, P, 2) points in 0..1; zero outside. Shape (N, P)."""
    grid = (2 * points - 1).unsqueeze(2)
    sampled = F.grid_sample(maps.unsqueeze(1), grid, mode="bilinear", align_corners=False)
    return sampled[:, 0, :, 0]


@torch.no_grad()
def choose_uncertain_points(
    logits: torch.Tensor,
    num_points: int,
    *,
    oversampling: float = 3.0,
    uncertain_share: float = 0.75,
    boxes: torch.Tensor | None = None,
    box_share: float = 0.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Points where the prediction is least sure, and some at random (PointRend, section 3.1).

    A model that starts from nothing is unsure of everything, and small masks then hardly get a
    point; for it, a share of the points can be drawn from the surroundings of each mask's box.

    Args:
        logits: float32, shape (N, H, W).
        num_points: P.
        oversampling: random candidates per point kept; at least 1.
        uncertain_share: share chosen for |logit| near 0, in [0, 1], of the points not drawn by box.
        boxes: float32, shape (N, 4), xyxy fractions; needed where `box_share` is above 0.
        box_share: share of points drawn evenly from each box enlarged by half its size, in [0, 1].
        generator: source of randomness, on the logits' device.

    Returns:
        float32, shape (N, P, 2), (x, y) in 0..1.
    """
    num_masks = len(logits)
    num_in_boxes = int(box_share * num_points) if boxes is not None else 0
    num_elsewhere = num_points - num_in_boxes
    num_uncertain = int(uncertain_share * num_elsewhere)

    def uniform(count: int) -> torch.Tensor:
        return torch.rand(num_masks, count, 2, device=logits.device, generator=generator)

    candidates = uniform(int(num_elsewhere * oversampling))
    least_sure = sample_points(logits, candidates).abs().topk(num_uncertain, largest=False).indices
    chosen = [
        candidates.gather(1, least_sure.unsqueeze(2).expand(-1, -1, 2)),
        uniform(num_elsewhere - num_uncertain),
    ]
    if boxes is not None and num_in_boxes:
        corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        chosen.append((corner + size * (1.5 * uniform(num_in_boxes) - 0.25)).clamp(0, 1))
    return torch.cat(chosen, dim=1)
