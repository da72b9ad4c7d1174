"""Pretraining the tiny base model on Ray Train: it learns to see and to talk about scenes.

`run_tiny_base_pretraining` starts or resumes the training and lays the best model beside its
checkpoints.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import ray.train.torch
from torch.utils.data import DataLoader, Subset

from pipelines.cluster import connect
from pipelines.storage import Place, find_source
from pipelines.tracking import RunTracker, check_tracking
from pipelines.tracking_config import TrackingConfig
from pipelines.training.fit import (
    choose_best,
    copy_from_checkpoint,
    fit,
    loop_config,
    open_run,
    publish,
    read_summary,
    write_manifest,
)
from pipelines.training.hub_folder import MODEL_FOLDER
from pipelines.training.job_config import TrainingJobConfig
from pipelines.training.loop import UNRANKED, LoopConfig, TrainingLoop, run_worker
from pipelines.training.plan import check_lanes, lanes_of
from pipelines.training.summary import TrainingSummary
from samtok.errors import ConfigError
from samtok.mllm.model import load_mllm, save_mllm
from samtok.mllm.pretraining.batches import PretrainingBatch, PretrainingBatches
from samtok.mllm.pretraining.config import PretrainingConfig
from samtok.mllm.pretraining.exam import examine
from samtok.mllm.pretraining.trainer import PretrainingTrainer
from samtok.mllm.tiny import build_tiny_mllm
from samtok.scenes import generate_scene

STAGE: Final = "pretrain_tiny_base"
_BATCHES_AHEAD: Final = 4
_SPEAKS_NO_TOKENIZER: Final = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainTinyBaseConfig(TrainingJobConfig):
    """Settings of the job."""

    init: str = ""
    """A base to go on from, such as OUTPUT/model of an earlier pretraining; empty: random weights.
    """
    validation_scenes: int = 100
    """Scenes of the val split that are asked about at each validation."""
    training: PretrainingConfig = field(default_factory=PretrainingConfig)
    """The step itself."""

    def __post_init__(self) -> None:
        TrainingJobConfig.__post_init__(self)  # super() does not find its way in slotted classes
        check_lanes(self.training.num_lanes, self.num_workers)
        if self.validation_scenes < 10:
            raise ConfigError(
                f"--validation-scenes is {self.validation_scenes}; at least 10 are needed for "
                "expressions of every kind"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainingSummary(TrainingSummary):
    """What a pretraining left behind."""

    model: str
    """Folder of the best model, for ``load_mllm``."""
    box_iou: float
    """Of the best checkpoint on unseen scenes, 0..1."""

    def rows(self) -> dict[str, str]:
        """The model, and how well it finds things."""
        return {
            "model": self.model,
            "steps": f"{self.steps:,}",
            "box IoU of the best checkpoint, unseen scenes": f"{self.box_iou:.4f}",
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _WorkerJob:
    training: PretrainingConfig
    init: str
    validation_scenes: int
    loop: LoopConfig


def run_tiny_base_pretraining(config: PretrainTinyBaseConfig) -> PretrainingSummary:
    """Pretrain the tiny base; resumes what an earlier run with the same settings left.

    Raises:
        ConfigError: the settings cannot be used; nothing has run.
        CheckpointError: the output belongs to other settings, or training failed.
    """
    began = time.monotonic()
    output = Place.at(config.output)
    tracking = check_tracking(config.tracking)
    identity: dict[str, Any] = {
        "training": dataclasses.asdict(config.training),
        "init": find_source(config.init),
    }
    if finished := read_summary(PretrainingSummary, output, identity, began=began):
        return finished
    if config.init:
        load_mllm(config.init, device="cpu")  # an error now, not on the workers
    with open_run(output, tracking, identity, {"stage": STAGE}) as tracker:
        tracker.log_params(dataclasses.asdict(config))
        connect()
        best, score = choose_best(
            fit(_train_worker, _build_job(config, tracking, tracker.run_id), config, output)
        )
        copy_from_checkpoint(best, MODEL_FOLDER, output)
        address = output.uri(MODEL_FOLDER)
        done = PretrainingSummary(
            output=output.uri(),
            model=address,
            steps=config.training.num_steps,
            box_iou=score,
            run_id=tracker.run_id,
            model_version=publish(config, tracker, address, "model", _SPEAKS_NO_TOKENIZER),
            seconds=time.monotonic() - began,
        )
        write_manifest(output, STAGE, config, identity, _SPEAKS_NO_TOKENIZER, done)
    return done


def _build_job(
    config: PretrainTinyBaseConfig, tracking: TrackingConfig, run_id: str | None
) -> _WorkerJob:
    return _WorkerJob(
        training=config.training,
        init=find_source(config.init),
        validation_scenes=config.validation_scenes,
        loop=loop_config(
            config,
            tracking,
            run_id,
            num_steps=config.training.num_steps,
            units=("images",),
            score_name="box IoU",
        ),
    )


def _train_worker(job: _WorkerJob) -> None:
    run_worker(job.loop, lambda rank, num_workers: _PretrainingLoop(job, rank, num_workers))


class _PretrainingLoop(TrainingLoop[PretrainingBatch]):
    """The loop of the tiny base: scenes are made where they are needed."""

    def __init__(self, job: _WorkerJob, rank: int, num_workers: int) -> None:
        self.job = job
        self.lanes = lanes_of(job.training.num_lanes, rank, num_workers)
        self.mllm = load_mllm(job.init) if job.init else build_tiny_mllm(job.training.seed)
        device = ray.train.torch.get_device()
        self.trainer = PretrainingTrainer(self.mllm, job.training, device=device)
        super().__init__(job.loop, self.trainer, rank)

    def read(self) -> Iterator[list[PretrainingBatch]]:
        """Scenes and lessons of this worker's lanes, made ahead by a process beside it."""
        training, first = self.job.training, self.batches_read
        wanted = [
            step * training.num_lanes + lane
            for step in range(first, training.num_steps)
            for lane in self.lanes
        ]
        loader = DataLoader(
            Subset(PretrainingBatches(self.mllm.processor, training), wanted),
            batch_size=None,
            num_workers=1,
            prefetch_factor=_BATCHES_AHEAD,
        )
        lanes: list[PretrainingBatch] = []
        for batch in loader:
            lanes.append(batch)
            if len(lanes) == len(self.lanes):
                yield lanes
                lanes = []

    def validate(self, tracker: RunTracker) -> float:
        """Answers about unseen scenes, once the model talks."""
        training = self.job.training
        if self.trainer.step <= training.vision_steps:
            return UNRANKED
        scenes = [
            generate_scene(index, split="val", seed=training.seed)
            for index in range(self.job.validation_scenes)
        ]
        figures = examine(self.mllm, scenes)
        names = {f"validation/{name}": value for name, value in figures.items()}
        tracker.log_metrics(names, self.trainer.step)
        return figures["box_iou"]

    def save(self, folder: Path) -> None:
        """The model, ready to be loaded."""
        save_mllm(self.mllm, folder / MODEL_FOLDER)
