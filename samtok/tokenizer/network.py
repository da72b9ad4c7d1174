"""The mask tokenizer's network: tensors in, tensors out, differentiable.

:class:`~samtok.tokenizer.mask_tokenizer.SAMTok` wraps it for images and masks; training calls it
directly. A batch is B images with N masks in all; `image_index` says which image a mask is on, so
the backbone runs once per image however many masks it has.

Dimension letters: B images, N masks, C channels, L input side, D codebooks.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from samtok.tokenizer.config import TokenizerConfig
from samtok.tokenizer.residual_quantizer import ResidualQuantizer
from samtok.tokenizer.sam2_backbone import Sam2

_PADDING_LABEL = -1
_CORNER_LABELS = (2, 3)


class ImageFeatures(NamedTuple):
    """The three maps of a backbone pass over B images."""

    image: torch.Tensor
    """shape (B, C, L/16, L/16)."""
    fine: torch.Tensor
    """shape (B, C/8, L/4, L/4)."""
    middle: torch.Tensor
    """shape (B, C/4, L/8, L/8)."""


class DecodedMasks(NamedTuple):
    """What the decoder makes of N vectors."""

    logits: torch.Tensor
    """float32, shape (N, L/4, L/4): the candidate of highest predicted IoU."""
    candidates: torch.Tensor
    """shape (N, M, L/4, L/4): all candidates."""
    predicted_iou: torch.Tensor
    """float32, shape (N, M), 0..1: predicted IoU of each candidate."""
    best: torch.Tensor
    """int64, shape (N,): index of the kept candidate."""


class TokenizerNetwork(nn.Module):
    """SAM 2.1 with a mask encoder, and a residual quantizer between encoder and decoder."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.sam2 = Sam2(config)
        self.quantizer = ResidualQuantizer(
            size=config.codebook_size,
            depth=config.codebook_depth,
            channels=config.d_model,
            decay=config.ema_decay,
            epsilon=config.ema_epsilon,
        )

    def resize_input(self, image_size: int) -> None:
        """Take images of another side L from now on; the weights serve every size.

        Raises:
            ConfigError: it is not a positive multiple of 32.
        """
        self.config = dataclasses.replace(self.config, image_size=image_size)
        self.sam2.resize_input(self.config)

    def embed_images(self, images: torch.Tensor) -> ImageFeatures:
        """One backbone pass over normalised images, float32, shape (B, 3, L, L)."""
        return ImageFeatures(*self.sam2.embed_image(images))

    def encode_masks(
        self,
        features: ImageFeatures,
        mask_prompts: torch.Tensor,
        boxes: torch.Tensor,
        image_index: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Continuous mask embeddings.

        Args:
            features: of B images.
            mask_prompts: float32, shape (N, L/4, L/4), 0..1 (:func:`make_mask_prompts`).
            boxes: float32, shape (N, 4), xyxy as fractions of width and height.
            image_index: int64, shape (N,), the image of each mask; None means B is 1.

        Returns:
            Shape (N, C), float32 unless under autocast.
        """
        # As in the published code the corners enter as points, which adds a padding point and
        # shifts them by half a pixel; handing them over as a box prompt would not pad.
        corners = boxes.view(-1, 2, 2) * self.config.image_size
        labels = torch.tensor(_CORNER_LABELS, device=boxes.device).expand(len(boxes), 2)
        sparse, dense = self.sam2.sam_prompt_encoder(
            points=(corners, labels), boxes=None, masks=mask_prompts.unsqueeze(1)
        )
        embedding: torch.Tensor = self.sam2.sam_mask_encoder(
            _rows_for_masks(features.image, image_index, len(boxes)),
            self.sam2.sam_prompt_encoder.get_dense_pe(),
            sparse,
            dense,
        )
        return embedding

    def decode_vectors(
        self,
        features: ImageFeatures,
        vectors: torch.Tensor,
        image_index: torch.Tensor | None = None,
    ) -> DecodedMasks:
        """Masks from quantized vectors.

        Args:
            features: of B images.
            vectors: float32, shape (N, C).
            image_index: int64, shape (N,), the image of each vector; None means B is 1.

        Returns:
            Low-resolution logits; object scores are not applied (the published code disables it).
        """
        num_masks = len(vectors)
        # The published decode prompt is an empty one (a padding point, padded once more) plus
        # the vector.
        points = vectors.new_zeros(num_masks, 1, 2)
        labels = torch.full((num_masks, 1), _PADDING_LABEL, device=vectors.device)
        sparse, dense = self.sam2.sam_prompt_encoder(
            points=(points, labels), boxes=None, masks=None
        )
        candidates, predicted_iou, _, _ = self.sam2.sam_mask_decoder(
            image_embeddings=_rows_for_masks(features.image, image_index, num_masks),
            image_pe=self.sam2.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=torch.cat([sparse, vectors.unsqueeze(1)], dim=1),
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=False,
            high_res_features=[  # one row serves all masks where B is 1
                level if image_index is None else level.index_select(0, image_index)
                for level in (features.fine, features.middle)
            ],
        )
        best = predicted_iou.argmax(1)
        rows = torch.arange(num_masks, device=best.device)
        return DecodedMasks(candidates[rows, best].float(), candidates, predicted_iou.float(), best)


def make_mask_prompts(masks: torch.Tensor, size: int) -> torch.Tensor:
    """Masks as the prompt encoder takes them: 0..1, antialiased, straight from original size.

    Args:
        masks: bool or 0/1, shape (N, H, W), original pixels.
        size: L/4.

    Returns:
        float32, shape (N, size, size).
    """
    return F.interpolate(
        masks.unsqueeze(1).float(),
        size=(size, size),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    ).squeeze(1)


def normalize_boxes(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pixel boxes xyxy, shape (N, 4), as float32 fractions of (width, height, width, height)."""
    return boxes.float() / boxes.new_tensor([width, height, width, height], dtype=torch.float32)


def _rows_for_masks(
    maps: torch.Tensor, image_index: torch.Tensor | None, num_masks: int
) -> torch.Tensor:
    """One row per mask: a view where all masks share the only image, else a gather."""
    if image_index is None:
        return maps.expand(num_masks, -1, -1, -1)
    return maps.index_select(0, image_index)  # its gradient is much faster than indexing's
