"""The loss of a batch of masks: embed, encode, quantize, decode, compare.

Loss 2.0 x cross entropy + 0.5 x dice on uncertainty-sampled points + commitment (paper, section
3.1), plus, where they are in use, the auxiliary heads' losses and the distance of a mask that is a
pixel off from the words of the mask. All are sums over the batch divided by the counts of the
*whole* step, so that those of its parts, on whatever process, add up.

Dimension letters: B images, N masks, C channels, D codebooks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from samtok.tokenizer.device import autocast
from samtok.tokenizer.image_transform import normalize_images
from samtok.tokenizer.losses import choose_uncertain_points, point_mask_losses
from samtok.tokenizer.network import ImageFeatures, TokenizerNetwork
from samtok.tokenizer.training.auxiliary import BoxHead, ObjectMapHead
from samtok.tokenizer.training.batches import TrainingBatch
from samtok.tokenizer.training.config import TokenizerTrainingConfig
from samtok.tokenizer.training.jitter import jitter_prompts


class StepScale(NamedTuple):
    """What the losses of a step are divided by: counts over all its batches, on all processes."""

    num_images: int
    num_masks: int


class Objective(NamedTuple):
    """Losses of a batch, weighted, and what its codebooks learn from."""

    losses: dict[str, torch.Tensor]
    """Name to float32 scalar; their sum is what is minimised."""
    residuals: torch.Tensor | None
    """float32, shape (N, D, C), or None while the quantizer is bypassed."""
    codes: torch.Tensor | None
    """int64, shape (N, D), or None."""


class TokenizerObjective(nn.Module):
    """The network with its auxiliary heads, as one module whose forward gives the loss.

    Args:
        network: the tokenizer's.
        config: settings of the training.
        dtype: autocast dtype of backbone, encoder and decoder.
    """

    def __init__(
        self, network: TokenizerNetwork, config: TokenizerTrainingConfig, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.network = network
        self.box_head = BoxHead(network.config.d_model)
        self.object_map = ObjectMapHead(network.config.d_model)
        self._config = config
        self._dtype = dtype

    def embed_images(self, batch: TrainingBatch) -> ImageFeatures:
        """Maps of a batch's images: the cached ones, or a backbone pass."""
        if batch.features is not None:
            return ImageFeatures(*(level.float() for level in batch.features))
        assert batch.images is not None
        learns = self._config.backbone != "frozen" and torch.is_grad_enabled()
        with self._autocast(batch), torch.set_grad_enabled(learns):
            return self.network.embed_images(normalize_images(batch.images))

    def embed_masks(self, features: ImageFeatures, batch: TrainingBatch) -> torch.Tensor:
        """Mask vectors before quantization; float32, shape (N, C)."""
        with self._autocast(batch):
            vectors = self.network.encode_masks(
                features, batch.mask_prompts, batch.boxes, batch.image_index
            )
        return vectors.float()

    def forward(
        self,
        batch: TrainingBatch,
        scale: StepScale,
        generator: torch.Generator,
        *,
        quantize: bool,
        foreground_weight: float,
    ) -> Objective:
        """Losses of one batch.

        Args:
            batch: on the network's device.
            scale: what sums are divided by.
            generator: of the sampled points, on the network's device.
            quantize: decode from quantized vectors, or from the vectors themselves.
            foreground_weight: cross entropy of inside points counts this many times.
        """
        config = self._config
        features = self.embed_images(batch)
        vectors = self.embed_masks(features, self._read_askew(batch, generator))
        per_mask = batch.num_masks / scale.num_masks
        losses: dict[str, torch.Tensor] = {}
        residuals = codes = None
        if config.object_map_weight:
            with self._autocast(batch):
                objects = self.object_map(
                    features, batch.mask_prompts, batch.boxes, batch.image_index
                )
            losses["object_map"] = config.object_map_weight * objects / scale.num_images
        if quantize:
            quantized = self.network.quantizer(vectors)
            losses["commitment"] = config.commitment_weight * quantized.commitment * per_mask
            if config.consistency_weight:
                again = self.embed_masks(features, jitter_prompts(batch, generator))
                distance = F.mse_loss(again, quantized.vectors.detach())
                losses["consistency"] = config.consistency_weight * distance * per_mask
            vectors, codes, residuals = quantized.vectors, quantized.codes, quantized.residuals
        elif config.box_loss_weight:
            boxes = self.box_head(vectors, batch.boxes)
            losses["box"] = config.box_loss_weight * boxes / scale.num_masks
        with self._autocast(batch):
            decoded = self.network.decode_vectors(features, vectors, batch.image_index)
        points = choose_uncertain_points(
            decoded.logits,
            config.num_points,
            boxes=batch.boxes,
            box_share=config.box_point_share,
            generator=generator,
        )
        masks = point_mask_losses(
            decoded.logits, batch.targets, points, foreground_weight=foreground_weight
        )
        return Objective(
            {"bce": masks.bce * per_mask, "dice": masks.dice * per_mask, **losses},
            residuals,
            codes,
        )

    def _read_askew(self, batch: TrainingBatch, generator: torch.Generator) -> TrainingBatch:
        """The batch as it is encoded: some of its masks a pixel off."""
        share = self._config.mask_jitter
        if not share:
            return batch
        moved = jitter_prompts(batch, generator)
        device = batch.boxes.device
        is_moved = torch.rand(batch.num_masks, generator=generator, device=device) < share
        return batch._replace(
            mask_prompts=torch.where(
                is_moved[:, None, None], moved.mask_prompts, batch.mask_prompts
            ),
            boxes=torch.where(is_moved[:, None], moved.boxes, batch.boxes),
        )

    def _autocast(self, batch: TrainingBatch) -> torch.autocast:
        return autocast(batch.boxes.device, self._dtype)  # type: ignore[return-value]


def choose_trainable(objective: TokenizerObjective, *, quantize: bool) -> None:
    """Say which weights learn.

    Always the mask encoder, and the mask decoder without its IoU and object-score heads; of the
    backbone what the config says, and then the prompt encoder too; of the auxiliary heads those in
    use. Weights that no mask passes through stay frozen, as data-parallel training needs to know.
    """
    config, network = objective._config, objective.network
    objective.requires_grad_(False)
    network.sam2.sam_mask_encoder.requires_grad_(True)
    decoder = network.sam2.sam_mask_decoder.requires_grad_(True)
    decoder.iou_prediction_head.requires_grad_(False)
    if decoder.pred_obj_scores:
        decoder.pred_obj_score_head.requires_grad_(False)
    if config.backbone != "frozen":
        network.sam2.image_encoder.requires_grad_(True)
        if config.backbone == "partial":
            trunk = network.sam2.image_encoder.trunk.requires_grad_(False)
            for block in trunk.blocks[-config.trainable_blocks :]:
                block.requires_grad_(True)
        prompts = network.sam2.sam_prompt_encoder.requires_grad_(True)
        for point in prompts.point_embeddings[:2]:  # clicks; boxes are the other two
            point.requires_grad_(False)
        network.sam2.no_mem_embed.requires_grad_(True)
        objective.object_map.requires_grad_(config.object_map_weight > 0)
    else:  # the decoder's projections of the finer maps belong to the frozen image embedding
        decoder.conv_s0.requires_grad_(False)
        decoder.conv_s1.requires_grad_(False)
    objective.box_head.requires_grad_(not quantize and config.box_loss_weight > 0)
