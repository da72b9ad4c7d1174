"""What a training step reads: images with their masks, as network input.

Dimension letters: B images, N masks, L input side, H W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from samtok import masks as mask_codec
from samtok.tokenizer.image_transform import resize_image
from samtok.tokenizer.network import ImageFeatures, make_mask_prompts, normalize_boxes


class TrainingSample(NamedTuple):
    """One image with its masks."""

    image: np.ndarray
    """uint8, shape (H, W, 3), RGB; any size."""
    masks: np.ndarray
    """bool, shape (n, H, W), none of them empty; n >= 1."""


class TrainingBatch(NamedTuple):
    """B images with N masks in all: what one backward pass works on."""

    mask_prompts: torch.Tensor
    """float32, shape (N, L/4, L/4)."""
    boxes: torch.Tensor
    """float32, shape (N, 4), fractions."""
    image_index: torch.Tensor
    """int64, shape (N,), ascending."""
    targets: list[torch.Tensor]
    """Per image: uint8, shape (n, H, W)."""
    images: torch.Tensor | None
    """uint8, shape (B, L, L, 3); None where `features` are given."""
    features: ImageFeatures | None = None
    """Cached maps of a frozen backbone, any float dtype."""

    @property
    def num_images(self) -> int:
        """B."""
        return len(self.targets)

    @property
    def num_masks(self) -> int:
        """N."""
        return len(self.boxes)

    def halve(self) -> TrainingBatch:
        """The batch for a network input of half the side; its targets stay as they are.

        Raises:
            ValueError: it has cached maps, which have one size.
        """
        if self.images is None:
            raise ValueError("cached maps cannot be halved; images can")
        top, bottom = self.images[:, ::2].short(), self.images[:, 1::2].short()
        lines = top + bottom
        squares = lines[:, :, ::2] + lines[:, :, 1::2]
        return self._replace(
            images=((squares + 2) >> 2).to(torch.uint8),
            mask_prompts=F.avg_pool2d(self.mask_prompts.unsqueeze(1), 2).squeeze(1),
        )

    def to(self, device: torch.device) -> TrainingBatch:
        """The batch on another device."""
        features = self.features
        return TrainingBatch(
            mask_prompts=self.mask_prompts.to(device),
            boxes=self.boxes.to(device),
            image_index=self.image_index.to(device),
            targets=[target.to(device) for target in self.targets],
            images=None if self.images is None else self.images.to(device),
            features=features and ImageFeatures(*(level.to(device) for level in features)),
        )


def collate_samples(samples: list[TrainingSample], image_size: int) -> TrainingBatch:
    """Bring samples to network input; CPU only, so that loader processes can do it."""
    images = np.stack([resize_image(sample.image, image_size) for sample in samples])
    batch = collate_masks([sample.masks for sample in samples], image_size)
    return batch._replace(images=torch.from_numpy(images))


def collate_masks(masks: list[np.ndarray], image_size: int) -> TrainingBatch:
    """A batch without images, of masks per image; each bool, shape (n, H, W)."""
    prompts, boxes = [], []
    for group in masks:
        height, width = group.shape[1:]
        prompts.append(make_mask_prompts(torch.from_numpy(group), image_size // 4))
        pixels = torch.from_numpy(mask_codec.compute_boxes(group))
        boxes.append(normalize_boxes(pixels, height, width))
    counts = torch.tensor([len(group) for group in masks])
    return TrainingBatch(
        mask_prompts=torch.cat(prompts),
        boxes=torch.cat(boxes),
        image_index=torch.repeat_interleave(torch.arange(len(masks)), counts),
        targets=[torch.from_numpy(group.astype(np.uint8)) for group in masks],
        images=None,
    )
