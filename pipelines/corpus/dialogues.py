"""A Corpus and the words of its masks in, conversations out: Parquet, one row per conversation.

Each worker takes a block of images, makes of every text as many conversations as the mixture gives
it, and writes them. Killed and run again with the same settings, the job does only what is left;
what is made of an image depends on the seed and the image alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
from ray.data import Dataset

from pipelines.corpus.commits import Ledger
from pipelines.corpus.dialogue_general import GeneralConversations
from pipelines.corpus.dialogue_preview import write_dialogue_preview
from pipelines.corpus.dialogue_rows import (
    CONVERSATIONS_FOLDER,
    ImageDialogues,
    Mixture,
    build_conversations_block,
)
from pipelines.corpus.dialogue_source import DialogueSource
from pipelines.corpus.run import RunSummary, Todo, plan_blocks, run_blocks, write_run_manifest
from pipelines.corpus.stages import list_todo, summarize
from pipelines.corpus.task_pool import build_task_dataset
from pipelines.corpus_reader import DIALOGUES_STAGE, open_words
from pipelines.setting_checks import at_least
from pipelines.storage import Place
from samtok.errors import ConfigError
from samtok.tasks import DialogueOptions

_BYTES_PER_GROUP = 1 << 25
_BYTES_PER_FILE = 1 << 27
_MAX_WEIGHT: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskWeights:
    """How many conversations a text gives on average, by task.

    0 leaves the task out, 0.5 takes every other text, 3 makes three of each, worded differently.
    """

    region_captioning: float = 1.0
    """A mask in, words out; of descriptions, and of expressions with one target."""
    region_vqa: float = 1.0
    """Questions about masks; of questions with answers."""
    grounded_conversation: float = 1.0
    """Descriptions whose phrases carry masks; of captions, and of regions that mention others."""
    referring_segmentation: float = 1.0
    """An expression in; one, several or no masks out."""
    scene_graph: float = 1.0
    """Subject, predicate, object with masks; of all relations of an image together."""
    interactive_segmentation: float = 1.0
    """Rounds of instructions that refer to earlier masks."""
    general_vqa: float = 1.0
    """Conversations of --general, without masks."""

    def __post_init__(self) -> None:
        weights = dataclasses.asdict(self)
        for name, weight in weights.items():
            if not 0 <= weight <= _MAX_WEIGHT:
                flag = name.replace("_", "-")
                raise ConfigError(
                    f"--weights.{flag} is {weight}; allowed is 0 to {_MAX_WEIGHT} conversations "
                    "per text"
                )
        if not any(weights.values()):
            raise ConfigError("all --weights are 0; give at least one task a weight above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class DialoguesConfig:
    """Settings of the job that builds dialogues."""

    corpus: str
    """The --output of jobs/ingest_corpus.py, local or s3://: images and texts."""
    words: str
    """The --output of jobs/tokenize_corpus.py for that corpus, local or s3://."""
    output: str
    """Folder or s3:// prefix to write to; a run that was killed there is continued."""
    weights: TaskWeights = field(default_factory=TaskWeights)
    """Mixture of tasks."""
    json_share: float = DialogueOptions().json_share
    """Share of referring segmentation that asks for a JSON list of masks with labels, 0..1; the
    rest is answered with masks only, which is shorter."""
    no_target_share: float = DialogueOptions().no_target_share
    """Share of the expressions that nothing fits which are asked for, 0..1; data sets of the field
    have few of them or none."""
    min_reconstruction_iou: float | None = None
    """Leave out texts with a mask whose words rebuild it with a lower IoU, 0..1; needs words made
    with --reconstruct."""
    drop_colliding: bool = False
    """Leave out texts with a mask that has the same words as another mask of its image."""
    general: str | None = None
    """Conversations without masks to mix in: .jsonl or .parquet, local or s3://; rows with
    messages and image_uri (Parquet: or image)."""
    general_images: str | None = None
    """Folder or s3:// prefix that image_uri of --general is relative to."""
    seed: int = 0
    """Chooses texts, forms and wordings."""
    limit: int | None = None
    """Only the first so many images, and so many general conversations."""
    images_per_block: int = 128
    """Images per block, the unit of resuming."""
    num_workers: int | None = None
    """Blocks are made by so many tasks at a time; default: as many as the cluster has CPUs."""
    preview_samples: int = 3
    """Conversations of each task in the picture; 0 draws none."""
    dry_run: bool = False
    """Check the settings, say what would run, and stop."""

    def __post_init__(self) -> None:
        for name in ("images_per_block", "limit", "num_workers"):
            at_least(1, name, getattr(self, name))
        at_least(0, "preview_samples", self.preview_samples)
        lowest = self.min_reconstruction_iou
        if lowest is not None and not 0 <= lowest <= 1:
            raise ConfigError(f"--min-reconstruction-iou is {lowest}; allowed is 0 to 1")
        for name in ("json_share", "no_target_share"):
            if not 0 <= getattr(self, name) <= 1:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} is {getattr(self, name)}; allowed is 0 to 1")


def run_dialogues(config: DialoguesConfig) -> RunSummary:
    """Build the conversations of a corpus; resumes what an earlier run left.

    Raises:
        ConfigError: corpus, words or general conversations cannot be read, or do not belong
            together; nothing has run.
        CheckpointError: the output belongs to other settings.
    """
    source, ledger, mixture = build_source(config), build_ledger(config), build_mixture(config)
    check_inputs(config, source)
    words = open_words(config.words)
    run = run_blocks(
        source,
        ledger,
        identity={"mixture": dataclasses.asdict(mixture)},
        limit=config.limit,
        verb="building dialogues",
        items="conversations",
        build_dataset=lambda todo: build_dataset(config, source, ledger, todo),
    )
    preview = write_dialogue_preview(source, ledger.output, run, config.preview_samples)
    summary = dataclasses.replace(run.summary, preview=preview)
    write_run_manifest(
        ledger,
        dataclasses.replace(run, summary=summary),
        stage=DIALOGUES_STAGE,
        config=config,
        tokenizer_fingerprint=words.tokenizer_fingerprint,
        backbone_fingerprint=words.manifest["backbone_fingerprint"],
    )
    return summary


def plan_dialogues(config: DialoguesConfig) -> dict[str, Any]:
    """What `run_dialogues` would do; runs nothing."""
    source = build_source(config)
    check_inputs(config, source)
    plan = plan_blocks(source, build_ledger(config), limit=config.limit)
    return {name: plan[name] for name in ("images", "images done already", "texts")}


def build_source(config: DialoguesConfig) -> DialogueSource:
    """What the config reads."""
    general = None
    if config.general is not None:
        general = GeneralConversations(location=config.general, images=config.general_images)
    return DialogueSource(
        corpus=config.corpus,
        words=config.words,
        general=general,
        images_per_shard=config.images_per_block,
    )


def build_mixture(config: DialoguesConfig) -> Mixture:
    """What the config makes."""
    return Mixture(
        weights=dataclasses.asdict(config.weights),
        options=DialogueOptions(
            json_share=config.json_share, no_target_share=config.no_target_share
        ),
        seed=config.seed,
        min_reconstruction_iou=config.min_reconstruction_iou,
        drop_colliding=config.drop_colliding,
    )


def check_inputs(config: DialoguesConfig, source: DialogueSource) -> None:
    """Raise ConfigError where the inputs cannot give what is asked for."""
    source.check()
    if config.min_reconstruction_iou is not None:
        words = open_words(config.words)
        if not words.has_reconstruction:
            raise ConfigError(
                f"--min-reconstruction-iou needs words with reconstruction_iou, which those in "
                f"{words.place.uri()} have not; run jobs/tokenize_corpus.py with --reconstruct"
            )


def build_ledger(config: DialoguesConfig) -> Ledger:
    """The books of the output."""
    return Ledger(
        output=Place.at(config.output),
        folder=CONVERSATIONS_FOLDER,
        bytes_per_group=_BYTES_PER_GROUP,
    )


def build_dataset(
    config: DialoguesConfig, source: DialogueSource, ledger: Ledger, todo: Todo
) -> Dataset:
    """The lazy dataset: make and write a shard at a time; a small summary row per block."""
    return build_task_dataset(
        todo, DialogueStage(source, ledger, build_mixture(config)), config.num_workers
    )


class DialogueStage:
    """Read index shards, make their conversations and write them, on CPU workers.

    Columns in: `SHARDS`. Columns out: `BLOCK_SUMMARY`, one row per block. State held: none.

    Args:
        source: images, texts and words.
        ledger: of the job's output.
        mixture: what is made.
    """

    def __init__(self, source: DialogueSource, ledger: Ledger, mixture: Mixture) -> None:
        self._source = source
        self._ledger = ledger
        self._mixture = mixture

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Summaries of blocks from a table of `SHARDS`."""
        images: list[ImageDialogues] = []
        num_bytes = 0
        for row in list_todo(self._ledger.output, table):
            images.append(self._source.make(row["image_id"], row["payload"], self._mixture))
            num_bytes += images[-1].num_bytes
            if num_bytes >= _BYTES_PER_FILE:  # carried images repeat with every conversation
                yield summarize(self._ledger.write_block(build_conversations_block(images)))
                images, num_bytes = [], 0
        if images:
            yield summarize(self._ledger.write_block(build_conversations_block(images)))
