"""What each worker of a fine-tuning does, under Ray Train."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray.train.torch
import torch

from pipelines.storage import Place
from pipelines.tracking import RunTracker
from pipelines.training import quarantine
from pipelines.training.encoded_rows import from_row
from pipelines.training.loop import UNRANKED, LoopConfig, TrainingLoop, run_worker
from pipelines.training.plan import lanes_of
from pipelines.training.sft_loading import SftLoadStage
from pipelines.training.sft_validation import SftValidation
from pipelines.training.stream import stream_lanes
from samtok.mllm import load_extended
from samtok.mllm.training import SftBatch, SftConfig, SftTrainer, make_batch
from samtok.tokenizer.device import choose_dtype
from samtok.training.collectives import gather_items


@dataclass(frozen=True, kw_only=True, slots=True)
class SftJob:
    """Everything a worker needs; picklable."""

    model: str
    """What the training starts from."""
    codebooks: np.ndarray | None
    """Of the mask tokenizer, for the rows of new words; None: these start as noise."""
    training: SftConfig
    stage: SftLoadStage
    validation: SftValidation
    """Without corpora there is none."""
    capacity: int | None
    """Tokens of a row in which conversations are packed; None: each has a row of its own."""
    output: Place
    """Of the job, for the quarantine."""
    loop: LoopConfig


def train_worker(job: SftJob) -> None:
    """Train from the last checkpoint, or from the start, to the end."""
    run_worker(job.loop, lambda rank, num_workers: _SftLoop(job, rank, num_workers))


def start_trainer(
    model: str, config: SftConfig, device: torch.device, codebooks: np.ndarray | None
) -> SftTrainer:
    """What a training starts from: the model in float32, its vocabulary extended.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    mllm = load_extended(model, device, seed=config.seed, codebooks=codebooks)
    return SftTrainer(mllm, config, device=device, dtype=choose_dtype(config.dtype, device))


class _SftLoop(TrainingLoop[SftBatch]):
    """The loop of a fine-tuning."""

    def __init__(self, job: SftJob, rank: int, num_workers: int) -> None:
        self.job = job
        self.lanes = lanes_of(job.stage.mixture.num_lanes, rank, num_workers)
        device = ray.train.torch.get_device()
        self.trainer = start_trainer(job.model, job.training, device, job.codebooks)
        self._rejected: list[dict[str, Any]] = []
        super().__init__(job.loop, self.trainer, rank)

    def read(self) -> Iterator[list[SftBatch]]:
        """Micro-batches, padded or packed; what was rejected is kept for the next checkpoint."""
        stream = stream_lanes(
            self.job.stage,
            self.lanes,
            first_batch=self.batches_read,
            num_loaders=self.job.loop.num_loaders,
        )
        for rows in stream:
            self._rejected += [rejected for row in rows for rejected in row["rejected"]]
            yield [
                make_batch(
                    [from_row(conversation) for conversation in row["conversations"]],
                    self.trainer.mllm,
                    capacity=self.job.capacity,
                )
                for row in rows
            ]

    def after_resume(self) -> None:
        """Forget what was quarantined after the checkpoint; it will be met again."""
        if self.rank == 0:
            quarantine.forget_after(self.job.output, self.trainer.step)

    def before_checkpoint(self) -> None:
        """Write what was rejected since the last one."""
        rejected = gather_items(self._rejected)
        self._rejected = []
        if self.rank == 0:
            quarantine.write_rows(self.job.output, self.trainer.step, rejected)

    def validate(self, tracker: RunTracker) -> float:
        """Losses by task, and answers as pictures; the score is the answer tokens' probability."""
        if not self.job.validation.corpora:
            return UNRANKED
        result = self.job.validation.run(self.trainer, self.rank)
        tracker.log_metrics(result.metrics, self.trainer.step)
        for name, picture in result.pictures.items():
            tracker.log_picture(name, picture, self.trainer.step)
        return math.exp(-result.loss)
