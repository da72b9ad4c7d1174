"""The training step and its phases, on one process or many.

Two phases where `quantize_from_step` is above 0 (from-scratch models): first an autoencoder whose
quantizer is bypassed; then codebooks start from k-means over fresh embeddings and the quantizer is
switched on. Quantizing from the first step collapses a model that has not learned to see yet. With
`quantize_from_step` 0 this is the published recipe (paper, section 4.1).

A step's batch is a list of micro-batches, the *lanes*, dealt out to the processes in order: with L
lanes, process r of W holds lanes r L/W and on. Losses are divided by the counts of all lanes,
codebooks learn from all lanes at once, and randomness belongs to the lane, so that the result does
not depend on W but for rounding.

Letters: L lanes, W processes, N masks, D codebooks, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from samtok.errors import CheckpointError
from samtok.tokenizer.kmeans import cluster
from samtok.tokenizer.network import TokenizerNetwork
from samtok.tokenizer.residual_quantizer import Codebook, Restarts
from samtok.tokenizer.training.batches import TrainingBatch
from samtok.tokenizer.training.config import (
    TokenizerTrainingConfig,
    foreground_weight_at,
    learning_rate_at,
)
from samtok.tokenizer.training.objective import (
    Objective,
    StepScale,
    TokenizerObjective,
    choose_trainable,
)
from samtok.training.collectives import gather_rows, num_processes, sum_over_processes
from samtok.training.lanes import first_lane, seed_of_lane
from samtok.training.optimizers import Optimizers
from samtok.training.sharding import replicate, without_sync

_RESTARTS_LANE, _KMEANS_LANE = -1, -2
"""Lanes that no batch has: sources of randomness shared by all processes."""


class TokenizerTrainer:
    """The network with everything a training step needs.

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
        self.network = network.to(device)
        self.step = 0
        self._image_size = network.config.image_size
        with torch.random.fork_rng(devices=[]):  # the same heads on every process
            torch.manual_seed(config.seed)
            self._objective = TokenizerObjective(network, config, dtype).to(device)
        choose_trainable(self._objective, quantize=False)
        self._optimizers = Optimizers(self._objective, config.optimizers)
        self._parallel: nn.Module | None = None
        self._wrapped_quantizing = False

    @property
    def is_quantizing(self) -> bool:
        """Whether the quantizer is on at the current step."""
        return self.step >= self.config.quantize_from_step

    @property
    def is_full_size(self) -> bool:
        """Whether images enter at their full side at the current step."""
        return self.step >= self.config.full_size_from_step

    @property
    def needs_codebooks(self) -> bool:
        """Whether :meth:`start_codebooks` is due before the current step."""
        return self.config.starts_codebooks and self.step == self.config.quantize_from_step

    def train_step(self, lanes: Sequence[TrainingBatch]) -> dict[str, float]:
        """One optimizer step on this process's lanes of the batch.

        Args:
            lanes: at least one micro-batch, each with at least one mask; as many on every process.

        Returns:
            Losses (those of the whole batch, the same on every process), gradient norm, learning
            rate, and the numbers of images and masks of the whole batch.
        """
        self.network.train()
        batches = self._take(lanes)
        scale = self._count(batches)
        first, last = first_lane(len(lanes)), len(lanes) - 1
        results = [
            self._backward(batch, first + position, scale, is_last=position == last)
            for position, batch in enumerate(batches)
        ]
        trained = [p for p in self._optimizers.parameters if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, self.config.clip_norm)
        learning_rate = learning_rate_at(self.step, self.config)
        self._optimizers.step(learning_rate)
        if self.is_quantizing:
            self._update_codebooks(results)
        losses = self._sum_losses(results)
        self.step += 1
        return {
            "loss": sum(losses.values()),
            **{f"loss_{name}": value for name, value in losses.items()},
            "gradient_norm": float(norm),
            "learning_rate": learning_rate,
            "num_images": float(scale.num_images),
            "num_masks": float(scale.num_masks),
        }

    @torch.no_grad()
    def embed(self, lanes: Sequence[TrainingBatch]) -> torch.Tensor:
        """Mask vectors of all lanes of all processes, in order; float32, shape (N, C)."""
        self.network.eval()
        batches = self._take(lanes)
        vectors = [self._objective.embed_masks(self._objective.embed_images(b), b) for b in batches]
        return gather_rows(torch.cat(vectors))

    @torch.no_grad()
    def start_codebooks(self, vectors: torch.Tensor) -> None:
        """Set every codebook to k-means centres of vectors (later books: of what is left over).

        Args:
            vectors: float32, shape (N, C), the same on every process; N at least the codebook size.
        """
        generator = self._generator(_KMEANS_LANE)
        residual = vectors
        for codebook in self.network.quantizer.codebooks:
            assert isinstance(codebook, Codebook)
            centres, counts = cluster(residual, codebook.size, generator=generator)
            if num_processes() > 1:  # rounding may differ between machines
                dist.broadcast(centres, src=0)
                dist.broadcast(counts, src=0)
            codebook.set_rows(centres, counts)
            residual = residual - codebook.look_up(codebook.nearest(residual))

    def state_dict(self) -> dict[str, Any]:
        """Weights, heads, optimizers and step; tensors and plain values only."""
        return {
            "objective": self._objective.state_dict(),
            "optimizers": self._optimizers.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            CheckpointError: it belongs to a network of another shape.
        """
        try:
            self._objective.load_state_dict(state["objective"])
        except RuntimeError as error:
            raise CheckpointError(
                f"the training state was written for another tokenizer config: {error}"
            ) from error
        self._optimizers.load_state_dict(state["optimizers"])
        self.step = int(state["step"])
        self._parallel = None

    def _take(self, lanes: Sequence[TrainingBatch]) -> list[TrainingBatch]:
        """Batches as they enter at the current step, and the network set to their size."""
        batches = [batch.to(self.device) for batch in lanes]
        if self.is_full_size:
            self.network.resize_input(self._image_size)
            return batches
        self.network.resize_input(self._image_size // 2)
        return [batch.halve() for batch in batches]

    def _backward(
        self, batch: TrainingBatch, lane: int, scale: StepScale, *, is_last: bool
    ) -> Objective:
        module = self._module()
        with without_sync(module, waits=not is_last):
            result: Objective = module(
                batch,
                scale,
                self._generator(lane),
                quantize=self.is_quantizing,
                foreground_weight=foreground_weight_at(self.step, self.config),
            )
            total = torch.stack(list(result.losses.values())).sum()
            (total * num_processes()).backward()  # data-parallel training averages gradients
        return result

    def _module(self) -> nn.Module:
        """The objective, spread over the processes; wrapped anew when what learns changes."""
        if self._parallel is None or self._wrapped_quantizing != self.is_quantizing:
            self._wrapped_quantizing = self.is_quantizing
            choose_trainable(self._objective, quantize=self.is_quantizing)
            self._parallel = replicate(self._objective, self.device)
        return self._parallel

    def _update_codebooks(self, results: list[Objective]) -> None:
        residuals = torch.cat([r.residuals for r in results if r.residuals is not None])
        codes = torch.cat([r.codes for r in results if r.codes is not None])
        restarts = Restarts(self.config.restart_below, self.config.restart_size)
        generator = self._generator(_RESTARTS_LANE)
        self.network.quantizer.update(residuals, codes, generator, restarts)

    def _sum_losses(self, results: list[Objective]) -> dict[str, float]:
        names = list(results[0].losses)
        sums = [torch.stack([r.losses[name].detach() for r in results]).sum() for name in names]
        totals = sum_over_processes(torch.stack(sums)).tolist()
        return dict(zip(names, totals, strict=True))

    def _count(self, batches: list[TrainingBatch]) -> StepScale:
        counts = torch.tensor(
            [[b.num_images, b.num_masks] for b in batches], device=self.device
        ).sum(0)
        num_images, num_masks = sum_over_processes(counts).tolist()
        return StepScale(num_images, num_masks)

    def _generator(self, lane: int) -> torch.Generator:
        """Randomness of a lane at the current step."""
        seed = seed_of_lane(self.config.seed, self.step, lane - _KMEANS_LANE)
        return torch.Generator(self.device).manual_seed(seed)
