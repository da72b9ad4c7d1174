"""What every training does around its loop: its MLflow run, Ray Train, and the best checkpoint."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow.fs as pafs
import ray.train
from ray.train.torch import TorchTrainer

from pipelines import manifest
from pipelines.storage import Place
from pipelines.tracking import RunTracker
from pipelines.tracking_config import TrackingConfig
from pipelines.training.job_config import TrainingJobConfig
from pipelines.training.loop import SCORE, LoopConfig
from pipelines.training.summary import TrainingSummary
from samtok.errors import CheckpointError

RAY_TRAIN_FOLDER: Final = "ray_train"
_TRACKING_FILE: Final = "_tracking.json"
_WORKER_CPU_SHARE: Final = 0.5
"""Of its CPUs a worker reserves half with Ray, so that loading finds room."""
_LOADERS_PER_CPU: Final = 2
"""Each takes a quarter of a CPU: together they fill the other half."""

Job = TypeVar("Job")
Summary = TypeVar("Summary", bound=TrainingSummary)


def read_summary(
    kind: type[Summary], output: Place, identity: Mapping[str, Any], *, began: float
) -> Summary | None:
    """The summary in the manifest of a finished training; None where there is none yet.

    Args:
        kind: of summary.
        output: of the training.
        identity: what must be equal for it to be the same training.
        began: when this run did, on the monotonic clock.

    Raises:
        CheckpointError: an earlier training wrote there with another identity.
    """
    manifest.is_begun(output, _as_read_back(identity))
    finished = manifest.read_json(output, manifest.MANIFEST_FILE)
    if not finished:
        return None
    now = {"seconds": time.monotonic() - began, "was_finished": True}
    return kind(**finished["summary"] | now)


def open_run(
    output: Place,
    tracking: TrackingConfig,
    identity: Mapping[str, Any],
    tags: Mapping[str, object],
) -> RunTracker:
    """Begin or continue the training of an output, and its MLflow run.

    Args:
        output: of the training; asked for its summary before.
        tracking: as `check_tracking` returned it.
        identity: what must be equal for the training to be continued.
        tags: of the run.

    Raises:
        ConfigError: the run cannot be recorded.
    """
    manifest.write_json(output, manifest.RUN_FILE, _as_read_back(identity))
    known = manifest.read_json(output, _TRACKING_FILE) or {}
    tracker = RunTracker.open(tracking, known.get("run_id"), tags=tags)
    manifest.write_json(output, _TRACKING_FILE, {"run_id": tracker.run_id})
    return tracker


def loop_config(
    config: TrainingJobConfig,
    tracking: TrackingConfig,
    run_id: str | None,
    *,
    num_steps: int,
    units: tuple[str, ...],
    score_name: str,
    headline: str = "loss",
) -> LoopConfig:
    """The loop's share of a job's settings; see `LoopConfig`."""
    return LoopConfig(
        num_steps=num_steps,
        num_threads=max(1, round(config.cpus_per_worker)),
        num_loaders=max(1, round(config.cpus_per_worker * _LOADERS_PER_CPU)),
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        validate_every=config.validate_every,
        tracking=tracking,
        run_id=run_id,
        units=units,
        score_name=score_name,
        headline=headline,
    )


def fit(
    worker: Callable[[Job], None], job: Job, config: TrainingJobConfig, output: Place
) -> ray.train.Result:
    """Run the workers to the end; they go on from the last checkpoint in the output.

    Raises:
        CheckpointError: the training failed; the same command continues it.
    """
    trainer = TorchTrainer(
        worker,
        train_loop_config=job,
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.gpus_per_worker > 0,
            resources_per_worker={
                "CPU": config.cpus_per_worker * _WORKER_CPU_SHARE,
                **({"GPU": config.gpus_per_worker} if config.gpus_per_worker else {}),
            },
        ),
        run_config=ray.train.RunConfig(
            name=RAY_TRAIN_FOLDER,
            storage_path=output.path(),
            storage_filesystem=output.filesystem if output.is_remote else None,
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1,
                checkpoint_score_attribute=SCORE,  # and the last, always
            ),
        ),
    )
    try:
        return trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise CheckpointError(
            f"training in {output.uri()} failed: {error}; the same command continues it from the "
            "last checkpoint"
        ) from error


def choose_best(result: ray.train.Result) -> tuple[ray.train.Checkpoint, float]:
    """The checkpoint of the highest score, of equal ones the last; and its score."""
    checkpoints: list[tuple[ray.train.Checkpoint, dict[str, Any]]] = result.best_checkpoints or []
    best, metrics = max(checkpoints, key=lambda item: (item[1][SCORE], item[1]["step"]))
    return best, float(metrics[SCORE])


def copy_from_checkpoint(checkpoint: ray.train.Checkpoint, folder: str, output: Place) -> None:
    """Copy a folder of a checkpoint to where users look for it."""
    output.filesystem.create_dir(output.path(folder), recursive=True)
    pafs.copy_files(
        f"{checkpoint.path}/{folder}",
        output.path(folder),
        source_filesystem=checkpoint.filesystem,
        destination_filesystem=output.filesystem,
    )


def upload(folder: Path, output: Place, name: str) -> None:
    """Copy a local folder into an output, under a name."""
    output.filesystem.create_dir(output.path(name), recursive=True)
    pafs.copy_files(str(folder), output.path(name), destination_filesystem=output.filesystem)


def publish(
    config: TrainingJobConfig, tracker: RunTracker, address: str, name: str, fingerprint: str
) -> int | None:
    """Say in MLflow where the result is, and register it where that is wanted.

    Args:
        config: of the job.
        tracker: of the run.
        address: of the result's folder.
        name: of what it is, e.g. ``"tokenizer"``.
        fingerprint: of the tokenizer, or of the one that a model speaks to.

    Returns:
        The registered version, or None.
    """
    tracker.log_artifact_reference(name, address)
    if not config.register:
        return None
    return tracker.register_model(
        config.register,
        address,
        alias=config.alias,
        tags={"tokenizer_fingerprint": fingerprint},
    )


def write_manifest(
    output: Place,
    stage: str,
    config: TrainingJobConfig,
    identity: Mapping[str, Any],
    fingerprint: str,
    summary: TrainingSummary,
) -> None:
    """Write what made the output and what came of it, last.

    Args:
        output: of the training.
        stage: name of the job.
        config: its settings.
        identity: as in :func:`open_run`.
        fingerprint: of the tokenizer.
        summary: what came of it.
    """
    content = {
        "stage": stage,
        "config": dataclasses.asdict(config),
        "identity": dict(identity),
        "tokenizer_fingerprint": fingerprint,
        "summary": dataclasses.asdict(summary),
        "versions": manifest.describe_code(),
    }
    manifest.write_json(output, manifest.MANIFEST_FILE, content)


def _as_read_back(identity: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists."""
    read_back: dict[str, Any] = json.loads(json.dumps(identity))
    return read_back
