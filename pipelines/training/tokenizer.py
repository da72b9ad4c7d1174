"""Training a mask tokenizer on Ray Train: from settings to a tokenizer that can be loaded.

`run_tokenizer_training` checks everything first, then starts or resumes the training, and at the
end lays the best tokenizer beside its checkpoints and into MLflow's registry.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow.fs as pafs
import ray.train
import torch
from ray.train.torch import TorchTrainer

from pipelines import manifest
from pipelines.cluster import connect
from pipelines.storage import Place
from pipelines.tracking import RunTracker, check_tracking
from pipelines.tracking_config import TrackingConfig
from pipelines.training.corpora import (
    TrainingCorpus,
    open_cached_corpus,
    open_training_corpus,
)
from pipelines.training.loading import LoadStage
from pipelines.training.plan import Mixture, check_lanes
from pipelines.training.tokenizer_worker import (
    SCORE,
    TOKENIZER_FOLDER,
    WorkerJob,
    start_tokenizer,
    train_worker,
)
from pipelines.training.validation import Validation
from samtok.errors import CheckpointError, ConfigError
from samtok.tokenizer import PRESETS, SAMTok, TokenizerConfig
from samtok.tokenizer.training import TokenizerTrainingConfig

RAY_TRAIN_FOLDER: Final = "ray_train"
REGISTERED_MODEL: Final = "samtok-tokenizer"
_TRACKING_FILE: Final = "_tracking.json"
_WORKER_CPU_SHARE: Final = 0.5
"""Of its CPUs a worker reserves half with Ray, so that loading finds room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainTokenizerConfig:
    """Settings of the job."""

    output: str
    """Folder or s3:// prefix to write to; a training that was killed there is continued. Every node
    must be able to write to it."""
    corpus: tuple[str, ...] = ()
    """Corpora to train on: outputs of jobs/ingest_corpus.py, local or s3://, or scenes:N[:SPLIT]
    for N built-in scenes."""
    embeddings: tuple[str, ...] = ()
    """Instead of --corpus: outputs of jobs/embed_corpus.py. The backbone then never runs, and has
    to be frozen."""
    corpus_weights: tuple[float, ...] = ()
    """Share of each corpus in what is read; default: by their numbers of images."""
    validation_corpus: str = "scenes:200:val"
    """Corpus to validate on, as in --corpus."""
    validation_images: int = 200
    """Its first so many images."""
    init: str | None = None
    """Tokenizer to start from: tiny, a folder, or a published .pth; or SAM 2.1 weights (.pt), whose
    mask encoder starts anew. Default: random weights."""
    size: str = "tiny"
    """Named size of the model; a tokenizer in --init brings its own."""
    num_workers: int = 1
    """Training processes."""
    cpus_per_worker: float = 1.0
    """CPUs a worker may use; its torch threads. It reserves half of them with Ray."""
    gpus_per_worker: float = 0.0
    """GPUs per worker: 0 or 1."""
    images_per_step: int = 8
    """Images of an optimizer step, over all workers."""
    images_per_lane: int = 4
    """Images of one backward pass; divides --images-per-step. A worker with several of them
    accumulates gradients. Does not change the result, the number of workers does not either."""
    masks_per_image: int = 8
    """At most this many masks of an image, drawn anew each epoch."""
    images_per_window: int = 256
    """Images shuffled together; a multiple of --images-per-lane."""
    log_every: int = 20
    """Steps between figures in MLflow."""
    checkpoint_every: int = 500
    """Steps between checkpoints: at most this many are lost."""
    validate_every: int = 1000
    """Steps between validations."""
    max_failures: int = 3
    """How often lost workers are replaced before the training gives up; -1: always."""
    training: TokenizerTrainingConfig = field(default_factory=TokenizerTrainingConfig)
    """The step itself."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """MLflow."""
    register: str = REGISTERED_MODEL
    """Registered model that the tokenizer becomes a version of; empty: none."""
    alias: str = "newest"
    """Alias of that version; MLflow reserves "latest"."""

    def __post_init__(self) -> None:
        if bool(self.corpus) == bool(self.embeddings):
            raise ConfigError("give --corpus or --embeddings, one of the two")
        if self.embeddings and self.training.backbone != "frozen":
            raise ConfigError(
                f"--training.backbone is {self.training.backbone}, but --embeddings come from a "
                "backbone that no longer changes; use --corpus, or --training.backbone frozen"
            )
        if self.embeddings and self.init is None:
            raise ConfigError("--embeddings need --init, the tokenizer they were made with")
        for name in (
            "num_workers",
            "images_per_step",
            "images_per_lane",
            "masks_per_image",
            "log_every",
            "checkpoint_every",
            "validate_every",
            "validation_images",
        ):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} is {getattr(self, name)}; at least 1 is needed")
        if self.images_per_step % self.images_per_lane:
            raise ConfigError(
                f"--images-per-step is {self.images_per_step} and --images-per-lane "
                f"{self.images_per_lane}; the first must be a multiple of the second"
            )
        if self.images_per_window % self.images_per_lane:
            raise ConfigError(
                f"--images-per-window is {self.images_per_window} and --images-per-lane "
                f"{self.images_per_lane}; the first must be a multiple of the second"
            )
        if self.size not in PRESETS:
            raise ConfigError(f"--size is {self.size!r}; allowed are {', '.join(PRESETS)}")
        if self.gpus_per_worker not in (0, 1):
            raise ConfigError(f"--gpus-per-worker is {self.gpus_per_worker:g}; allowed are 0 and 1")
        check_lanes(self.num_lanes, self.num_workers)

    @property
    def num_lanes(self) -> int:
        """Micro-batches of a step."""
        return self.images_per_step // self.images_per_lane


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSummary:
    """What a training left behind."""

    output: str
    tokenizer: str
    """Folder of the best tokenizer, for ``SAMTok.from_pretrained``."""
    fingerprint: str
    steps: int
    validation_iou: float
    """Of the best checkpoint, 0..1."""
    run_id: str | None
    """MLflow run."""
    model_version: int | None
    """In MLflow's registry."""
    seconds: float
    """Of this run, start-up included."""
    was_finished: bool = False
    """An earlier run had finished it, and this one did nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checked:
    """Settings that have been found usable, resolved."""

    corpora: tuple[TrainingCorpus, ...]
    validation_corpus: TrainingCorpus
    shape: TokenizerConfig
    init_fingerprint: str | None
    tracking: TrackingConfig


def run_tokenizer_training(config: TrainTokenizerConfig) -> TrainingSummary:
    """Train a tokenizer; resumes what an earlier run with the same settings left, if anything.

    Raises:
        ConfigError: the settings do not fit what they name; nothing has run.
        CheckpointError: the output belongs to other settings, or training failed.
    """
    began = time.monotonic()
    output = Place.at(config.output)
    checked = check_training(config)
    identity = _identify(config, checked)
    manifest.is_begun(output, identity)
    if finished := manifest.read_json(output, manifest.MANIFEST_FILE):
        seconds = time.monotonic() - began
        return TrainingSummary(**finished["summary"] | {"seconds": seconds, "was_finished": True})
    manifest.write_json(output, manifest.RUN_FILE, identity)
    known = manifest.read_json(output, _TRACKING_FILE) or {}
    tracker = RunTracker.open(
        checked.tracking, known.get("run_id"), tags={"stage": "train_tokenizer", **_tags(identity)}
    )
    manifest.write_json(output, _TRACKING_FILE, {"run_id": tracker.run_id})
    with tracker:
        tracker.log_params(dataclasses.asdict(config))
        connect()
        result = _fit(config, checked, output, tracker.run_id)
        best = _choose_best(result)
        tokenizer = _publish(best[0], output)
        summary = TrainingSummary(
            output=output.uri(),
            tokenizer=output.uri(TOKENIZER_FOLDER),
            fingerprint=tokenizer.fingerprint,
            steps=config.training.num_steps,
            validation_iou=float(best[1][SCORE]),
            run_id=tracker.run_id,
            model_version=_register(config, tracker, output, tokenizer),
            seconds=time.monotonic() - began,
        )
        tracker.set_tags({"tokenizer_fingerprint": tokenizer.fingerprint})
        _write_manifest(output, config, identity, summary)
    return summary


def check_training(config: TrainTokenizerConfig) -> _Checked:
    """Find out, before any cluster work, whether the settings fit what they name.

    Raises:
        ConfigError: names what does not, and what to change.
        CheckpointError: the tokenizer to start from cannot be loaded.
    """
    shape, init, backbone = PRESETS[config.size], None, ""
    if config.init is not None:
        seed = config.training.seed
        tokenizer = start_tokenizer(config.init, shape, torch.device("cpu"), seed)
        shape, init = tokenizer.config, tokenizer.fingerprint
        backbone = tokenizer.backbone_fingerprint
    if config.embeddings:
        corpora = tuple(open_cached_corpus(place, backbone) for place in config.embeddings)
    else:
        corpora = tuple(open_training_corpus(place) for place in config.corpus)
    _build_mixture(config, corpora)
    return _Checked(
        corpora=corpora,
        validation_corpus=open_training_corpus(config.validation_corpus),
        shape=shape,
        init_fingerprint=init,
        tracking=check_tracking(config.tracking),
    )


def _build_mixture(config: TrainTokenizerConfig, corpora: tuple[TrainingCorpus, ...]) -> Mixture:
    starts = tuple(corpus.starts for corpus in corpora)
    return Mixture(
        starts=starts,
        weights=config.corpus_weights or tuple(float(each[-1]) for each in starts),
        num_lanes=config.num_lanes,
        images_per_window=config.images_per_window,
        seed=config.training.seed,
    )


def _fit(
    config: TrainTokenizerConfig, checked: _Checked, output: Place, run_id: str | None
) -> ray.train.Result:
    stage = LoadStage(
        corpora=checked.corpora,
        mixture=_build_mixture(config, checked.corpora),
        images_per_lane=config.images_per_lane,
        masks_per_image=config.masks_per_image,
        image_size=checked.shape.image_size,
    )
    job = WorkerJob(
        shape=checked.shape,
        init=config.init,
        training=config.training,
        stage=stage,
        validation=Validation(
            corpus=checked.validation_corpus, num_images=config.validation_images
        ),
        num_threads=max(1, round(config.cpus_per_worker)),
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        validate_every=config.validate_every,
        tracking=checked.tracking,
        run_id=run_id,
    )
    trainer = TorchTrainer(
        train_worker,
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


def _choose_best(result: ray.train.Result) -> tuple[ray.train.Checkpoint, dict[str, Any]]:
    """The checkpoint of the highest validation IoU, of equal ones the last."""
    checkpoints: list[tuple[ray.train.Checkpoint, dict[str, Any]]] = result.best_checkpoints or []
    return max(checkpoints, key=lambda item: (item[1][SCORE], item[1]["step"]))


def _publish(checkpoint: ray.train.Checkpoint, output: Place) -> SAMTok:
    """Copy the tokenizer of a checkpoint to where users look for it."""
    source = f"{checkpoint.path}/{TOKENIZER_FOLDER}"
    output.filesystem.create_dir(output.path(TOKENIZER_FOLDER), recursive=True)
    pafs.copy_files(
        source,
        output.path(TOKENIZER_FOLDER),
        source_filesystem=checkpoint.filesystem,
        destination_filesystem=output.filesystem,
    )
    return SAMTok.from_pretrained(output.uri(TOKENIZER_FOLDER), device="cpu")


def _register(
    config: TrainTokenizerConfig, tracker: RunTracker, output: Place, tokenizer: SAMTok
) -> int | None:
    tracker.log_artifact_reference("tokenizer", output.uri(TOKENIZER_FOLDER))
    if not config.register:
        return None
    return tracker.register_model(
        config.register,
        output.uri(TOKENIZER_FOLDER),
        alias=config.alias,
        tags={"tokenizer_fingerprint": tokenizer.fingerprint},
    )


def _identify(config: TrainTokenizerConfig, checked: _Checked) -> dict[str, Any]:
    """What must be equal for a training to be continued, as JSON gives it back."""
    identity = {
        "training": dataclasses.asdict(config.training),
        "shape": checked.shape.to_dict(),
        "init_fingerprint": checked.init_fingerprint,
        "corpora": [corpus.digest for corpus in checked.corpora],
        "corpus_weights": list(config.corpus_weights),
        "images_per_step": config.images_per_step,
        "images_per_lane": config.images_per_lane,
        "images_per_window": config.images_per_window,
        "masks_per_image": config.masks_per_image,
    }
    read_back: dict[str, Any] = json.loads(json.dumps(identity))
    return read_back


def _tags(identity: dict[str, Any]) -> dict[str, object]:
    return {
        "init_fingerprint": identity["init_fingerprint"] or "none",
        "corpus_digests": " ".join(identity["corpora"]),
    }


def _write_manifest(
    output: Place,
    config: TrainTokenizerConfig,
    identity: dict[str, Any],
    summary: TrainingSummary,
) -> None:
    manifest.write_json(
        output,
        manifest.MANIFEST_FILE,
        {
            "stage": "train_tokenizer",
            "config": dataclasses.asdict(config),
            "identity": identity,
            "tokenizer_fingerprint": summary.fingerprint,
            "summary": dataclasses.asdict(summary),
            "versions": manifest.describe_code(),
        },
    )
