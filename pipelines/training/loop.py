"""What each worker of a training does under Ray Train, whatever it trains: the loop.

Waits for: the other workers, in every step's sums and at every checkpoint. Rank 0 alone logs,
writes checkpoints and draws pictures.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import ray.train
import torch

from pipelines.tracking import RunTracker
from pipelines.tracking_config import TrackingConfig
from pipelines.training.progress import ProgressLines
from pipelines.training.throughput import Throughput

STATE_FILE: Final = "state.pt"
SCORE: Final = "score"
"""Metric by which checkpoints are ranked: of just these weights; the higher the better."""
UNRANKED: Final = -1.0
"""Score of weights that were not validated: below every score."""

Batch = TypeVar("Batch")
Lane = TypeVar("Lane", contravariant=True)


class Trainer(Protocol[Lane]):
    """The step: `samtok`'s trainers."""

    step: int
    device: torch.device

    def train_step(self, lanes: Sequence[Lane]) -> dict[str, float]:
        """One optimizer step on this worker's lanes; figures of the whole batch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a training needs to go on; called on every worker."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """What the loop needs to know; picklable."""

    num_steps: int
    num_threads: int
    """Torch threads on the CPU."""
    num_loaders: int
    """Windows of data loaded at a time."""
    log_every: int
    checkpoint_every: int
    validate_every: int
    tracking: TrackingConfig
    run_id: str | None
    """MLflow run; None without tracking."""
    units: tuple[str, ...]
    """What a step counts, as ``num_<unit>`` in its figures; progress lines give the last one."""
    score_name: str
    """What the score is called in progress lines."""
    headline: str = "loss"
    """The figure that progress lines show."""


class TrainingLoop(ABC, Generic[Batch]):
    """A worker's state between steps; subclasses say what is read, validated and saved.

    Args:
        config: of the loop.
        trainer: of the step.
        rank: of this worker.
    """

    def __init__(self, config: LoopConfig, trainer: Trainer[Batch], rank: int) -> None:
        self.config = config
        self.rank = rank
        self.batches_read = 0
        self.last_score = UNRANKED
        self._trainer = trainer

    @abstractmethod
    def read(self) -> Iterator[list[Batch]]:
        """This worker's lanes, step after step, from batch `batches_read` on."""

    @abstractmethod
    def validate(self, tracker: RunTracker) -> float:
        """Measure and log; the score, at least 0 and the same on every worker, or UNRANKED."""

    def save(self, folder: Path) -> None:
        """Put into a checkpoint what it is to hold besides the state; on rank 0 only."""

    def before_step(self, stream: Iterator[list[Batch]]) -> None:
        """Whatever is due before the next step; may read from the stream."""

    def after_resume(self) -> None:
        """Whatever is due once, when it is known from which step on the training goes."""

    def measure_start(self, tracker: RunTracker) -> None:
        """Measure and log the weights that the training starts from; on every worker."""

    def before_checkpoint(self) -> None:
        """Whatever is to be written with a checkpoint but not into it; on every worker."""

    def batch_figures(self) -> dict[str, float]:
        """What is logged of the last batch, beside the trainer's figures."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a resumed training needs besides trainer, batches and score; plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""

    def run(self, tracker: RunTracker) -> None:
        """Steps, and after some of them logging, validation and a checkpoint."""
        config, trainer = self.config, self._trainer
        self._resume()
        self.after_resume()
        if trainer.step == 0:
            self.measure_start(tracker)
        stream = self._count(self.read())
        throughput = Throughput(trainer.device, config.units)
        progress = ProgressLines(
            config.num_steps,
            trainer.step,
            headline=config.headline,
            unit=config.units[-1],
            score_name=config.score_name,
        )
        while trainer.step < config.num_steps:
            self.before_step(stream)
            with throughput.waiting():
                lanes = next(stream)
            figures = {**trainer.train_step(lanes), **self.batch_figures()}
            throughput.count(figures)
            if self.rank == 0:
                progress.show(trainer.step, figures, self.last_score)
            step, is_last = trainer.step, trainer.step == config.num_steps
            if step % config.log_every == 0 or is_last:
                tracker.log_metrics({**figures, **throughput.report()}, step)
            is_validated = step % config.validate_every == 0 or is_last
            score = self.validate(tracker) if is_validated else UNRANKED
            self.last_score = score if score != UNRANKED else self.last_score
            if is_validated or step % config.checkpoint_every == 0:
                self._checkpoint(tracker, score)
                throughput.restart()

    def _count(self, stream: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        for lanes in stream:
            self.batches_read += 1
            yield lanes

    def _checkpoint(self, tracker: RunTracker, score: float) -> None:
        """Write the state on rank 0; a barrier for all."""
        self.before_checkpoint()
        step = self._trainer.step
        metrics = {"step": step, SCORE: score}
        state = {
            "trainer": self._trainer.state_dict(),
            "batches_read": self.batches_read,
            "last_score": self.last_score,
            "loop": self.state(),
        }
        if self.rank != 0:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, Path(folder) / STATE_FILE)
            self.save(Path(folder))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
            name = f"step-{step:08d}"
            ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=name)
        storage = ray.train.get_context().get_storage()
        address = f"{storage.experiment_fs_path}/{name}"
        tracker.log_artifact_reference("checkpoint", address, step=step)

    def _resume(self) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as folder:
            state = torch.load(
                Path(folder) / STATE_FILE, map_location=self._trainer.device, weights_only=True
            )
        self._trainer.load_state_dict(state["trainer"])
        self.batches_read = state["batches_read"]
        self.last_score = state["last_score"]
        self.load_state(state["loop"])


def run_worker(config: LoopConfig, build: Callable[[int, int], TrainingLoop[Any]]) -> None:
    """Train from the last checkpoint, or from the start, to the end.

    Args:
        config: of the loop.
        build: makes the loop from the rank of this worker and the number of workers.
    """
    # Gradients of what is well fitted turn denormal; a CPU then needs ten times as long a step.
    torch.set_flush_denormal(True)
    torch.set_num_threads(config.num_threads)
    context = ray.train.get_context()
    rank = context.get_world_rank()
    loop = build(rank, context.get_world_size())
    tracking = config.tracking if rank == 0 else TrackingConfig(enabled=False)
    tracker = RunTracker(tracking, config.run_id if rank == 0 else None)
    try:
        loop.run(tracker)
    finally:
        tracker.close()  # the driver ends the run
