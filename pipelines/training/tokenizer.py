"""Training a mask tokenizer on Ray Train: from settings to a tokenizer that can be loaded.

`run_tokenizer_training` checks everything first, then starts or resumes the training, and at the
end lays the best tokenizer beside its checkpoints and into MLflow's registry.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from pipelines.cluster import connect
from pipelines.setting_checks import at_least, divides
from pipelines.storage import Place, find_source
from pipelines.tracking import check_tracking
from pipelines.tracking_config import TrackingConfig
from pipelines.training.corpora import (
    TrainingCorpus,
    open_cached_corpus,
    open_training_corpus,
)
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
from pipelines.training.job_config import TrainingJobConfig
from pipelines.training.loading import LoadStage
from pipelines.training.plan import Mixture, check_lanes
from pipelines.training.summary import TrainingSummary
from pipelines.training.tokenizer_worker import (
    TOKENIZER_FOLDER,
    WorkerJob,
    start_tokenizer,
    train_worker,
)
from pipelines.training.validation import Validation
from samtok.errors import ConfigError
from samtok.tokenizer import PRESETS, SAMTok, TokenizerConfig
from samtok.tokenizer.training import TokenizerTrainingConfig

STAGE: Final = "train_tokenizer"
REGISTERED_MODEL: Final = "samtok-tokenizer"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainTokenizerConfig(TrainingJobConfig):
    """Settings of the job."""

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
    images_per_step: int = 8
    """Images of an optimizer step, over all workers."""
    images_per_lane: int = 4
    """Images of one backward pass; divides --images-per-step. A worker with several of them
    accumulates gradients. Does not change the result, the number of workers does not either."""
    masks_per_image: int = 8
    """At most this many masks of an image, drawn anew each epoch."""
    images_per_window: int = 256
    """Images shuffled together; a multiple of --images-per-lane."""
    training: TokenizerTrainingConfig = field(default_factory=TokenizerTrainingConfig)
    """The step itself."""
    register: str = REGISTERED_MODEL
    """Registered model that the tokenizer becomes a version of; empty: none."""

    def __post_init__(self) -> None:
        TrainingJobConfig.__post_init__(self)  # super() does not find its way in slotted classes
        if bool(self.corpus) == bool(self.embeddings):
            raise ConfigError("give --corpus or --embeddings, one of the two")
        if self.embeddings and self.training.backbone != "frozen":
            raise ConfigError(
                f"--training.backbone is {self.training.backbone}, but --embeddings come from a "
                "backbone that no longer changes; use --corpus, or --training.backbone frozen"
            )
        if self.embeddings and self.training.full_size_from_step:
            raise ConfigError(
                "--training.full-size-from-step needs images, and --embeddings have one size; "
                "use --corpus, or leave it at 0"
            )
        if self.embeddings and self.init is None:
            raise ConfigError("--embeddings need --init, the tokenizer they were made with")
        for name in ("images_per_step", "images_per_lane", "masks_per_image", "validation_images"):
            at_least(1, name, getattr(self, name))
        for whole in ("images_per_step", "images_per_window"):
            divides("images_per_lane", self.images_per_lane, whole, getattr(self, whole))
        if self.size not in PRESETS:
            raise ConfigError(f"--size is {self.size!r}; allowed are {', '.join(PRESETS)}")
        check_lanes(self.num_lanes, self.num_workers)

    @property
    def num_lanes(self) -> int:
        """Micro-batches of a step."""
        return self.images_per_step // self.images_per_lane


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerSummary(TrainingSummary):
    """What a training left behind."""

    tokenizer: str
    """Folder of the best tokenizer, for ``SAMTok.from_pretrained``."""
    fingerprint: str
    validation_iou: float
    """Of the best checkpoint, 0..1."""

    def rows(self) -> dict[str, str]:
        """The tokenizer, and its IoU."""
        return {
            "tokenizer": self.tokenizer,
            "fingerprint": self.fingerprint[:16],
            "steps": f"{self.steps:,}",
            "validation IoU of the best checkpoint": f"{self.validation_iou:.4f}",
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checked:
    """Settings that have been found usable, resolved."""

    corpora: tuple[TrainingCorpus, ...]
    mixture: Mixture
    validation_corpus: TrainingCorpus
    shape: TokenizerConfig
    init_fingerprint: str | None
    tracking: TrackingConfig


def run_tokenizer_training(config: TrainTokenizerConfig) -> TokenizerSummary:
    """Train a tokenizer; resumes what an earlier run with the same settings left, if anything.

    Raises:
        ConfigError: the settings do not fit what they name; nothing has run.
        CheckpointError: the output belongs to other settings, or training failed.
    """
    began = time.monotonic()
    output = Place.at(config.output)
    checked = check_training(config)
    identity = _identify(config, checked)
    if finished := read_summary(TokenizerSummary, output, identity, began=began):
        return finished
    with open_run(output, checked.tracking, identity, _tags(identity)) as tracker:
        tracker.log_params(dataclasses.asdict(config))
        connect()
        result = fit(train_worker, _build_job(config, checked, tracker.run_id), config, output)
        best, score = choose_best(result)
        copy_from_checkpoint(best, TOKENIZER_FOLDER, output)
        address = output.uri(TOKENIZER_FOLDER)
        fingerprint = SAMTok.from_pretrained(address, device="cpu").fingerprint
        done = TokenizerSummary(
            output=output.uri(),
            tokenizer=address,
            fingerprint=fingerprint,
            steps=config.training.num_steps,
            validation_iou=score,
            run_id=tracker.run_id,
            model_version=publish(config, tracker, address, "tokenizer", fingerprint),
            seconds=time.monotonic() - began,
        )
        tracker.set_tags({"tokenizer_fingerprint": fingerprint})
        write_manifest(output, STAGE, config, identity, fingerprint, done)
    return done


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
    if config.training.full_size_from_step and shape.image_size % 64:
        raise ConfigError(
            f"--training.full-size-from-step needs an image size of which half is a multiple of "
            f"32; this model's is {shape.image_size}"
        )
    if config.embeddings:
        corpora = tuple(open_cached_corpus(place, backbone) for place in config.embeddings)
    else:
        corpora = tuple(open_training_corpus(place) for place in config.corpus)
    mixture = Mixture.of(
        (corpus.starts for corpus in corpora),
        config.corpus_weights,
        num_lanes=config.num_lanes,
        images_per_window=config.images_per_window,
        seed=config.training.seed,
    )
    return _Checked(
        corpora=corpora,
        mixture=mixture,
        validation_corpus=open_training_corpus(config.validation_corpus),
        shape=shape,
        init_fingerprint=init,
        tracking=check_tracking(config.tracking),
    )


def _build_job(config: TrainTokenizerConfig, checked: _Checked, run_id: str | None) -> WorkerJob:
    return WorkerJob(
        shape=checked.shape,
        init=None if config.init is None else find_source(config.init),
        training=config.training,
        stage=LoadStage(
            corpora=checked.corpora,
            mixture=checked.mixture,
            images_per_lane=config.images_per_lane,
            masks_per_image=config.masks_per_image,
            image_size=checked.shape.image_size,
        ),
        validation=Validation(
            corpus=checked.validation_corpus, num_images=config.validation_images
        ),
        loop=loop_config(
            config,
            checked.tracking,
            run_id,
            num_steps=config.training.num_steps,
            units=("images", "masks"),
            score_name="validation IoU",
        ),
    )


def _identify(config: TrainTokenizerConfig, checked: _Checked) -> dict[str, Any]:
    """What must be equal for a training to be continued."""
    return {
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


def _tags(identity: dict[str, Any]) -> dict[str, object]:
    return {
        "stage": STAGE,
        "init_fingerprint": identity["init_fingerprint"] or "none",
        "corpus_digests": " ".join(identity["corpora"]),
    }
