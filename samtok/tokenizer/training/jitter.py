"""Masks a pixel off, so that training can ask for the same words.

A language model can learn words only as far as like masks have like words, and an encoder that
has never seen a mask twice owes it nothing of the kind.

Letters: B images, n masks of an image, N masks in all, H W pixels.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torchvision.ops import masks_to_boxes

from samtok.tokenizer.network import make_mask_prompts, normalize_boxes
from samtok.tokenizer.training.batches import TrainingBatch

_NEIGHBOURS: Final = ((0, 1), (2, 1), (1, 0), (1, 2))
"""Top and left of the view that a padded mask is moved by: down, up, right, left."""


@torch.no_grad()
def jitter_prompts(batch: TrainingBatch, generator: torch.Generator) -> TrainingBatch:
    """The batch with other prompts and boxes: those of its masks a pixel off.

    Args:
        batch: its targets are what is moved, and stay as they are.
        generator: draws what happens to each mask, on the targets' device.
    """
    prompts, boxes = [], []
    for masks in batch.targets:
        moved = jitter_masks(masks.bool(), generator)
        prompts.append(make_mask_prompts(moved, batch.mask_prompts.shape[-1]))
        boxes.append(normalize_boxes(masks_to_boxes(moved), *moved.shape[1:]))
    return batch._replace(mask_prompts=torch.cat(prompts), boxes=torch.cat(boxes))


def jitter_masks(masks: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each mask one pixel aside, grown or shrunk by its four-neighbours; as likely each.

    Args:
        masks: bool, shape (n, H, W); a mask of which nothing would be left stays as it is.
        generator: draws, on the masks' device.

    Returns:
        bool, shape (n, H, W).
    """
    height, width = masks.shape[1:]
    padded = F.pad(masks, (1, 1, 1, 1))
    moved = torch.stack(
        [padded[:, top : top + height, left : left + width] for top, left in _NEIGHBOURS]
    )
    ways = torch.cat([moved, (masks | moved.any(0))[None], (masks & moved.all(0))[None]])
    drawn = torch.randint(len(ways), (len(masks),), generator=generator, device=masks.device)
    changed = ways[drawn, torch.arange(len(masks), device=masks.device)]
    return torch.where(changed.flatten(1).any(1)[:, None, None], changed, masks)
