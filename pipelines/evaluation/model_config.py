"""Settings of the evaluation of a language model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipelines.setting_checks import above_zero, at_least
from pipelines.tracking_config import TrackingConfig
from samtok.errors import ConfigError
from samtok.mllm.generation import GenerationConfig
from samtok.tasks import TASK_NAMES


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateModelConfig:
    """Settings of the evaluation."""

    model: str
    """A folder in hub layout, or a hub id. Every node must be able to read it."""
    conversations: str
    """The --output of jobs/build_dialogues.py, local or s3://."""
    output: str
    """Folder or s3:// prefix to write to; an earlier report there is replaced."""
    words: str | None = None
    """The --output of jobs/tokenize_corpus.py that the conversations were made with: it has the
    true masks. Default: where the conversations' manifest says it was."""
    tokenizer: str = "tiny"
    """Decodes the masks of the answers: tiny (packaged), a folder, or a published .pth file; the
    one that made the words."""
    tasks: tuple[str, ...] = ()
    """Only these tasks; default: all there are."""
    limit: int | None = None
    """Only the first so many conversations of each task."""
    blank_image: bool = False
    """Evaluate the model also with an even grey in place of every image: what it knows from
    language alone."""
    compare_with: tuple[str, ...] = ()
    """Other models to show beside it, as for --model, e.g. one that was never taught masks."""
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    """How answers are written."""
    wording: Literal["scenes", "plain"] = "scenes"
    """scenes: synonyms in the language of built-in scenes count as equal in answers, phrases and
    labels (grey = gray). plain: nothing but case, articles and punctuation is overlooked."""
    caption_scores: bool = False
    """METEOR and CIDEr too; needs the extra `captions` and a Java runtime on the driver."""
    samples: int = 4
    """Answers of each task in its picture; 0 draws none."""
    num_actors: int | None = None
    """Actors that answer; default: as many as the cluster's GPUs (or CPUs) hold."""
    cpus_per_actor: float = 1.0
    """CPUs an actor may use; its torch threads. It reserves three quarters of them with Ray, so
    that reading finds room."""
    gpus_per_actor: float = 0.0
    """GPUs per actor: 0 runs on the CPU; 0.5 puts two actors on a GPU."""
    images_per_block: int = 16
    """Images handed to an actor at a time, with all that is asked about them. Like
    --conversations-per-batch it may change answers by rounding."""
    conversations_per_batch: int = 16
    """Conversations that the model answers at a time."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Where the run is recorded."""

    def __post_init__(self) -> None:
        for name in ("limit", "num_actors", "images_per_block", "conversations_per_batch"):
            at_least(1, name, getattr(self, name))
        for name in ("samples", "gpus_per_actor"):
            at_least(0, name, getattr(self, name))
        above_zero("cpus_per_actor", self.cpus_per_actor)
        unknown = [task for task in self.tasks if task not in TASK_NAMES]
        if unknown:
            raise ConfigError(f"--tasks has {unknown[0]!r}; allowed are {', '.join(TASK_NAMES)}")
        if self.model in self.compare_with or len(set(self.compare_with)) < len(self.compare_with):
            raise ConfigError(
                f"--compare-with is {' '.join(self.compare_with)}; give every model once, and not "
                "the one of --model"
            )
