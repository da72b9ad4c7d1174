"""Training a mask tokenizer: a plain loop over batches, one process.

Two phases where `quantize_from_step` is above 0 (from-scratch models): first an autoencoder whose
quantizer is bypassed, helped by a head that reads the box from the mask embedding; then codebooks
start from k-means over fresh embeddings and the quantizer is switched on. Quantizing from the
first step collapses a model that has not learned to see yet. With `quantize_from_step` 0 the loop
is the published recipe: loss 2.0 x cross entropy + 0.5 x dice on uncertainty-sampled points + 1.0 x
commitment, AdamW, clipping at 1, warm-up and cosine (paper, section 4.1).

Dimension letters: B images, N masks, L input side, P points, H W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from samtok import masks as mask_codec
from samtok.errors import CheckpointError, ConfigError
from samtok.tokenizer.device import autocast
from samtok.tokenizer.image_transform import normalize_images, resize_image
from samtok.tokenizer.kmeans import cluster
from samtok.tokenizer.losses import choose_uncertain_points, point_mask_losses
from samtok.tokenizer.network import TokenizerNetwork, make_mask_prompts, normalize_boxes
from samtok.tokenizer.residual_quantizer import Codebook


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerTrainingConfig:
    """Settings of the loop; defaults are the published ones."""

    num_steps: int = 1000
    """Optimizer steps in all."""
    learning_rate: float = 4e-5
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.05
    """AdamW weight decay."""
    warmup_share: float = 0.05
    """Share of the steps with rising learning rate, in [0, 1); cosine to 0 after it."""
    clip_norm: float = 1.0
    """Gradients are scaled down to at most this norm."""
    num_points: int = 512
    """Points per mask that the losses look at."""
    box_point_share: float = 0.0
    """Share of the points drawn from around each mask's box, in [0, 1]; helps from scratch."""
    commitment_weight: float = 1.0
    """Weight of the commitment loss."""
    train_backbone: bool = False
    """Train the image trunk and neck too (from scratch), or keep them frozen (published)."""
    quantize_from_step: int = 0
    """Bypass the quantizer before this step; its codebooks then start from k-means."""
    kmeans_vectors: int = 4096
    """Mask embeddings gathered for k-means."""
    box_loss_weight: float = 1.0
    """Weight of the box-reading head's smooth L1 loss while the quantizer is bypassed."""
    foreground_weight: float = 3.0
    """Cross entropy of inside points counts this many times at step 0, falling to 1 by the first
    tenth of the steps before `quantize_from_step`."""
    quantized_learning_rate: float | None = None
    """Peak learning rate once the quantizer is on; None keeps one schedule for all steps."""
    seed: int = 0
    """Seed of point sampling and restarts."""

    def __post_init__(self) -> None:
        if self.num_steps < 1 or not 0 <= self.quantize_from_step < self.num_steps:
            raise ConfigError(
                f"quantize_from_step is {self.quantize_from_step} and num_steps {self.num_steps}; "
                "0 <= quantize_from_step < num_steps is needed, so that the codebooks are trained"
            )
        if not 0.0 <= self.warmup_share < 1.0:
            raise ConfigError(f"warmup_share is {self.warmup_share}; allowed is 0 <= share < 1")


class TrainingSample(NamedTuple):
    """One image with its masks."""

    image: np.ndarray
    """uint8, shape (H, W, 3), RGB."""
    masks: np.ndarray
    """bool, shape (n, H, W), none of them empty; n >= 1."""


class TrainingBatch(NamedTuple):
    """B images with N masks in all."""

    images: torch.Tensor
    """uint8, shape (B, L, L, 3)."""
    mask_prompts: torch.Tensor
    """float32, shape (N, L/4, L/4)."""
    boxes: torch.Tensor
    """float32, shape (N, 4), fractions."""
    image_index: torch.Tensor
    """int64, shape (N,), ascending."""
    targets: list[torch.Tensor]
    """Per image: uint8, shape (n, H, W)."""

    def to(self, device: torch.device) -> TrainingBatch:
        """The batch on another device."""
        return TrainingBatch(
            self.images.to(device),
            self.mask_prompts.to(device),
            self.boxes.to(device),
            self.image_index.to(device),
            [target.to(device) for target in self.targets],
        )


def collate_samples(samples: list[TrainingSample], image_size: int) -> TrainingBatch:
    """Bring samples to network input; CPU only, so that loader processes can do it."""
    prompts, boxes = [], []
    for sample in samples:
        height, width = sample.masks.shape[1:]
        prompts.append(make_mask_prompts(torch.from_numpy(sample.masks), image_size // 4))
        pixels = torch.from_numpy(mask_codec.compute_boxes(sample.masks))
        boxes.append(normalize_boxes(pixels, height, width))
    counts = torch.tensor([len(sample.masks) for sample in samples])
    return TrainingBatch(
        images=torch.from_numpy(
            np.stack([resize_image(sample.image, image_size) for sample in samples])
        ),
        mask_prompts=torch.cat(prompts),
        boxes=torch.cat(boxes),
        image_index=torch.repeat_interleave(torch.arange(len(samples)), counts),
        targets=[torch.from_numpy(sample.masks.astype(np.uint8)) for sample in samples],
    )


class TokenizerTrainer:
    """The network with everything a training step needs; saves to and resumes from one file.

    Args:
        network: trained in place.
        config: settings.
        device: where to train.
        dtype: autocast dtype of backbone, encoder and decoder.
    """

    def __init__(
        self,
        network: TokenizerNetwork,
        config: TokenizerTrainingConfig,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.device = device
        self.dtype = dtype
        self.network = network.to(device)
        self.step = 0
        self.batches_read = 0
        self._box_head = nn.Linear(network.config.d_model, 4).to(device)
        self._generator = torch.Generator(device).manual_seed(config.seed)
        choose_trainable(network, train_backbone=config.train_backbone)
        trainable = [p for p in network.parameters() if p.requires_grad]
        self._parameters = [*trainable, *self._box_head.parameters()]
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=config.learning_rate,
            betas=(0.9, 0.999),
            weight_decay=config.weight_decay,
        )

    @property
    def is_quantizing(self) -> bool:
        """Whether the quantizer is on at the current step."""
        return self.step >= self.config.quantize_from_step

    def run(self, batches: Iterable[TrainingBatch]) -> Iterator[dict[str, float]]:
        """Train on batches until `num_steps` is reached; yields the metrics of each step.

        The batches that k-means reads are not trained on. `batches_read` counts both kinds: a
        resumed run is fed from that position on.
        """
        if self.step == 0:
            torch.manual_seed(self.config.seed)  # codebook restarts draw from the global generator
        stream = self._count(batches)
        while self.step < self.config.num_steps:
            if self.step == self.config.quantize_from_step > 0:
                self.start_codebooks(stream)
            yield self.train_step(next(stream))

    def _count(self, batches: Iterable[TrainingBatch]) -> Iterator[TrainingBatch]:
        for batch in batches:
            self.batches_read += 1
            yield batch

    def train_step(self, batch: TrainingBatch) -> dict[str, float]:
        """One optimizer step; returns losses, gradient norm and learning rate."""
        batch = batch.to(self.device)
        self.network.train()
        learning_rate = learning_rate_at(self.step, self.config)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        losses = self._losses(batch)
        total = torch.stack(list(losses.values())).sum()
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm)
        self._optimizer.step()
        self.step += 1
        figures = {f"loss_{name}": float(value.detach()) for name, value in losses.items()}
        return {
            "loss": float(total.detach()),
            **figures,
            "gradient_norm": float(norm),
            "learning_rate": learning_rate,
        }

    @torch.no_grad()
    def start_codebooks(self, batches: Iterator[TrainingBatch]) -> None:
        """Set every codebook to k-means centres of fresh embeddings (later books: of residuals)."""
        self.network.eval()
        gathered: list[torch.Tensor] = []
        while sum(map(len, gathered)) < self.config.kmeans_vectors:
            gathered.append(self._embed(next(batches).to(self.device)).float())
        residual = torch.cat(gathered)
        for codebook in self.network.quantizer.codebooks:
            assert isinstance(codebook, Codebook)
            centres, counts = cluster(residual, codebook.size, generator=self._generator)
            codebook.set_rows(centres, counts)
            residual = residual - codebook.look_up(codebook.nearest(residual))

    def save(self, path: Path) -> None:
        """Write weights, optimizer, step and randomness to one file, atomically."""
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "network": self.network.state_dict(),
                "box_head": self._box_head.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "generator": self._generator.get_state(),
                "torch_rng": torch.get_rng_state(),
                "step": self.step,
                "batches_read": self.batches_read,
            },
            partial,
        )
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Continue from a file written by :meth:`save`.

        The caller feeds batches from position `batches_read` on.

        Raises:
            CheckpointError: the file belongs to a network of another shape.
        """
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError as error:
            raise CheckpointError(
                f"{path} was written for another tokenizer config: {error}"
            ) from error
        self._box_head.load_state_dict(state["box_head"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["torch_rng"].cpu())
        self.step = int(state["step"])
        self.batches_read = int(state["batches_read"])

    def _embed(self, batch: TrainingBatch) -> torch.Tensor:
        with autocast(self.device, self.dtype):
            features = self.network.embed_images(normalize_images(batch.images))
            return self.network.encode_masks(
                features, batch.mask_prompts, batch.boxes, batch.image_index
            )

    def _losses(self, batch: TrainingBatch) -> dict[str, torch.Tensor]:
        with autocast(self.device, self.dtype), torch.set_grad_enabled(self.config.train_backbone):
            features = self.network.embed_images(normalize_images(batch.images))
        with autocast(self.device, self.dtype):
            embedding = self.network.encode_masks(
                features, batch.mask_prompts, batch.boxes, batch.image_index
            )
        losses: dict[str, torch.Tensor] = {}
        vectors = embedding.float()
        if self.is_quantizing:
            quantized = self.network.quantizer(vectors)
            losses["commitment"] = self.config.commitment_weight * quantized.commitment
            vectors = quantized.vectors
        else:
            box_error = F.smooth_l1_loss(self._box_head(vectors), batch.boxes, beta=0.1)
            losses["box"] = self.config.box_loss_weight * box_error
        with autocast(self.device, self.dtype):
            decoded = self.network.decode_vectors(features, vectors, batch.image_index)
        points = choose_uncertain_points(
            decoded.logits,
            self.config.num_points,
            boxes=batch.boxes,
            box_share=self.config.box_point_share,
            generator=self._generator,
        )
        masks = point_mask_losses(
            decoded.logits, batch.targets, points, foreground_weight=self._foreground_weight()
        )
        return {"bce": masks.bce, "dice": masks.dice, **losses}

    def _foreground_weight(self) -> float:
        span = self.config.quantize_from_step / 10
        if self.step >= span:
            return 1.0
        return (
            self.config.foreground_weight + (1 - self.config.foreground_weight) * self.step / span
        )


def choose_trainable(network: TokenizerNetwork, *, train_backbone: bool) -> None:
    """Say which weights learn.

    Always the mask encoder, and the mask decoder without its IoU and object-score heads; with the
    backbone (from scratch) the prompt encoder too.
    """
    network.requires_grad_(False)
    network.sam2.sam_mask_encoder.requires_grad_(True)
    decoder = network.sam2.sam_mask_decoder.requires_grad_(True)
    decoder.iou_prediction_head.requires_grad_(False)
    if decoder.pred_obj_scores:
        decoder.pred_obj_score_head.requires_grad_(False)
    if train_backbone:
        network.sam2.image_encoder.requires_grad_(True)
        network.sam2.sam_prompt_encoder.requires_grad_(True)
        network.sam2.no_mem_embed.requires_grad_(True)


def learning_rate_at(step: int, config: TokenizerTrainingConfig) -> float:
    """Linear warm-up, then cosine to 0; each phase has its own where their peaks differ."""
    start, end, peak = 0, config.num_steps, config.learning_rate
    if config.quantized_learning_rate is not None:
        if step >= config.quantize_from_step:
            start, peak = config.quantize_from_step, config.quantized_learning_rate
        else:
            end = config.quantize_from_step
    warmup = max(1, round(config.warmup_share * (end - start)))
    done = step - start
    if done < warmup:
        return peak * (done + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1, end - start - warmup)))
