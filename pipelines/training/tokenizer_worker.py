"""What each worker of a tokenizer training does: the loop, under Ray Train.

Waits for: the other workers, in every step's sums and at every checkpoint. Rank 0 alone logs,
writes checkpoints and draws pictures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray.train
import ray.train.torch
import torch

from pipelines.tracking import RunTracker
from pipelines.tracking_config import TrackingConfig
from pipelines.training.loading import LoadStage
from pipelines.training.plan import lanes_of
from pipelines.training.progress import ProgressLines
from pipelines.training.stream import stream_lanes
from pipelines.training.throughput import Throughput
from pipelines.training.unpacking import unpack_batch
from pipelines.training.validation import Validation
from samtok.tokenizer import SAMTok, TokenizerConfig
from samtok.tokenizer.device import choose_dtype
from samtok.tokenizer.training import TokenizerTrainer, TokenizerTrainingConfig, TrainingBatch

STATE_FILE: Final = "state.pt"
TOKENIZER_FOLDER: Final = "tokenizer"
SAM2_SUFFIX: Final = ".pt"
SCORE: Final = "validation_iou"
"""Metric by which checkpoints are ranked: of just these weights, through their codes."""
UNRANKED: Final = -1.0
"""Score of weights that were not validated, or only without codes: below every IoU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerJob:
    """Everything a worker needs; picklable."""

    shape: TokenizerConfig
    init: str | None
    """Tokenizer or SAM 2.1 weights to start from; None for random ones."""
    training: TokenizerTrainingConfig
    stage: LoadStage
    validation: Validation
    num_threads: int
    """Torch threads on the CPU."""
    log_every: int
    checkpoint_every: int
    validate_every: int
    tracking: TrackingConfig
    run_id: str | None
    """MLflow run; None without tracking."""


def train_worker(job: WorkerJob) -> None:
    """Train from the last checkpoint, or from the start, to the end."""
    # Gradients of well-fitted masks turn denormal, and a CPU then needs ten times as long a step.
    torch.set_flush_denormal(True)
    torch.set_num_threads(job.num_threads)
    context = ray.train.get_context()
    rank, num_workers = context.get_world_rank(), context.get_world_size()
    worker = _Worker(job, rank, num_workers)
    tracking = job.tracking if rank == 0 else TrackingConfig(enabled=False)
    tracker = RunTracker(tracking, job.run_id if rank == 0 else None)
    try:
        worker.run(tracker)
    finally:
        tracker.close()  # the driver ends the run


def start_tokenizer(
    init: str | None, shape: TokenizerConfig, device: torch.device, seed: int
) -> SAMTok:
    """What a training starts from: random weights, a tokenizer, or SAM 2.1's (a ``.pt`` file)."""
    if init is None:
        return SAMTok.from_config(shape, device=device, seed=seed)
    if init.endswith(SAM2_SUFFIX):
        return SAMTok.from_sam2(init, shape, device=device, seed=seed)
    return SAMTok.from_pretrained(init, device=device)


class _Worker:
    """State of a worker between steps."""

    def __init__(self, job: WorkerJob, rank: int, num_workers: int) -> None:
        self.job = job
        self.rank = rank
        self.lanes = lanes_of(job.stage.mixture.num_lanes, rank, num_workers)
        device = ray.train.torch.get_device()
        self.tokenizer = start_tokenizer(job.init, job.shape, device, job.training.seed)
        self.trainer = TokenizerTrainer(
            self.tokenizer.network, job.training, device=device, dtype=choose_dtype("auto", device)
        )
        self.batches_read = 0
        self.last_iou = 0.0
        self._resume()

    def run(self, tracker: RunTracker) -> None:
        """Steps, and after some of them logging, validation and a checkpoint."""
        job, trainer = self.job, self.trainer
        stream = self._read()
        throughput = Throughput(trainer.device)
        progress = ProgressLines(job.training.num_steps, trainer.step)
        while trainer.step < job.training.num_steps:
            if trainer.needs_codebooks:
                self._start_codebooks(stream)
            with throughput.waiting():
                lanes = next(stream)
            figures = trainer.train_step(lanes)
            throughput.count(figures)
            if self.rank == 0:
                progress.show(trainer.step, figures, self.last_iou)
            step, is_last = trainer.step, trainer.step == job.training.num_steps
            if step % job.log_every == 0 or is_last:
                tracker.log_metrics({**figures, **throughput.report()}, step)
            is_validated = step % job.validate_every == 0 or is_last
            score = self._validate(tracker) if is_validated else UNRANKED
            if is_validated or step % job.checkpoint_every == 0:
                self._checkpoint(tracker, score)
                throughput.restart()

    def _read(self) -> Iterator[list[TrainingBatch]]:
        """This worker's micro-batches of each step, from `batches_read` on."""
        shapes = list(self.job.shape.embedding_shapes.values())
        size = self.job.shape.image_size
        stream = stream_lanes(self.job.stage, self.lanes, first_batch=self.batches_read)
        for rows in stream:
            self.batches_read += 1
            yield [unpack_batch(row, size, shapes) for row in rows]

    def _start_codebooks(self, stream: Iterator[list[TrainingBatch]]) -> None:
        """K-means over fresh embeddings; the batches it reads are not trained on."""
        vectors: list[torch.Tensor] = []
        while sum(map(len, vectors)) < self.job.training.kmeans_vectors:
            vectors.append(self.trainer.embed(next(stream)))
        self.trainer.start_codebooks(torch.cat(vectors))

    def _validate(self, tracker: RunTracker) -> float:
        """Measure, log and draw; gives the score of the weights."""
        has_codes = self.trainer.is_quantizing and not self.trainer.needs_codebooks
        result = self.job.validation.run(self.tokenizer, quantize=has_codes)
        tracker.log_metrics(result.metrics, self.trainer.step)
        for name, picture in result.pictures.items():
            tracker.log_picture(name, picture, self.trainer.step)
        if not has_codes:  # the autoencoder's IoU is no promise of what its codes will be worth
            return UNRANKED
        self.last_iou = result.iou
        return result.iou

    def _checkpoint(self, tracker: RunTracker, score: float) -> None:
        """Write the state and the tokenizer on rank 0; a barrier for all."""
        metrics = {"step": self.trainer.step, SCORE: score}
        if self.rank != 0:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            state: dict[str, Any] = {
                "trainer": self.trainer.state_dict(),
                "batches_read": self.batches_read,
                "last_iou": self.last_iou,
            }
            torch.save(state, Path(folder) / STATE_FILE)
            self.tokenizer.save_pretrained(Path(folder) / TOKENIZER_FOLDER)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
            name = f"step-{self.trainer.step:08d}"
            ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=name)
        storage = ray.train.get_context().get_storage()
        address = f"{storage.experiment_fs_path}/{name}"
        tracker.log_artifact_reference("checkpoint", address, step=self.trainer.step)

    def _resume(self) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as folder:
            state = torch.load(
                Path(folder) / STATE_FILE, map_location=self.trainer.device, weights_only=True
            )
        self.trainer.load_state_dict(state["trainer"])
        self.batches_read = state["batches_read"]
        self.last_iou = state["last_iou"]
