"""What each worker of a tokenizer training does, under Ray Train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ray.train.torch
import torch

from pipelines.tracking import RunTracker
from pipelines.training.loading import LoadStage
from pipelines.training.loop import UNRANKED, LoopConfig, TrainingLoop, run_worker
from pipelines.training.plan import lanes_of
from pipelines.training.stream import stream_lanes
from pipelines.training.unpacking import unpack_batch
from pipelines.training.validation import Validation
from samtok.tokenizer import SAMTok, TokenizerConfig
from samtok.tokenizer.device import choose_dtype
from samtok.tokenizer.training import TokenizerTrainer, TokenizerTrainingConfig, TrainingBatch

TOKENIZER_FOLDER: Final = "tokenizer"
SAM2_SUFFIX: Final = ".pt"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerJob:
    """Everything a worker needs; picklable."""

    shape: TokenizerConfig
    init: str | None
    """Tokenizer or SAM 2.1 weights to start from; None for random ones."""
    training: TokenizerTrainingConfig
    stage: LoadStage
    validation: Validation
    loop: LoopConfig


def train_worker(job: WorkerJob) -> None:
    """Train from the last checkpoint, or from the start, to the end."""
    run_worker(job.loop, lambda rank, num_workers: _TokenizerLoop(job, rank, num_workers))


def start_tokenizer(
    init: str | None, shape: TokenizerConfig, device: torch.device, seed: int
) -> SAMTok:
    """What a training starts from: random weights, a tokenizer, or SAM 2.1's (a ``.pt`` file)."""
    if init is None:
        return SAMTok.from_config(shape, device=device, seed=seed)
    if init.endswith(SAM2_SUFFIX):
        return SAMTok.from_sam2(init, shape, device=device, seed=seed)
    return SAMTok.from_pretrained(init, device=device)


class _TokenizerLoop(TrainingLoop[TrainingBatch]):
    """The loop of a tokenizer."""

    def __init__(self, job: WorkerJob, rank: int, num_workers: int) -> None:
        self.job = job
        self.lanes = lanes_of(job.stage.mixture.num_lanes, rank, num_workers)
        device = ray.train.torch.get_device()
        self.tokenizer = start_tokenizer(job.init, job.shape, device, job.training.seed)
        self.trainer = TokenizerTrainer(
            self.tokenizer.network, job.training, device=device, dtype=choose_dtype("auto", device)
        )
        super().__init__(job.loop, self.trainer, rank)

    def read(self) -> Iterator[list[TrainingBatch]]:
        """Micro-batches from cached maps or pixels."""
        shapes = list(self.job.shape.embedding_shapes.values())
        size = self.job.shape.image_size
        stream = stream_lanes(
            self.job.stage,
            self.lanes,
            first_batch=self.batches_read,
            num_loaders=self.job.loop.num_loaders,
        )
        for rows in stream:
            yield [unpack_batch(row, size, shapes) for row in rows]

    def before_step(self, stream: Iterator[list[TrainingBatch]]) -> None:
        """K-means over fresh embeddings where it is due; its batches are not trained on."""
        if not self.trainer.needs_codebooks:
            return
        vectors: list[torch.Tensor] = []
        while sum(map(len, vectors)) < self.job.training.kmeans_vectors:
            vectors.append(self.trainer.embed(next(stream)))
        self.trainer.start_codebooks(torch.cat(vectors))

    def validate(self, tracker: RunTracker) -> float:
        """IoU of reconstructions, figures and pictures."""
        has_codes = self.trainer.is_quantizing and not self.trainer.needs_codebooks
        result = self.job.validation.run(self.tokenizer, quantize=has_codes)
        tracker.log_metrics(result.metrics, self.trainer.step)
        for name, picture in result.pictures.items():
            tracker.log_picture(name, picture, self.trainer.step)
        # The autoencoder's IoU is no promise of what its codes will be worth, nor is half a size's.
        is_whole = self.tokenizer.config.image_size == self.job.shape.image_size
        return result.iou if has_codes and is_whole else UNRANKED

    def save(self, folder: Path) -> None:
        """The tokenizer, ready to be loaded."""
        self.tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)
