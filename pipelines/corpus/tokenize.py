"""A corpus in, mask words out: the tokenization job.

`run_tokenization` lists the corpus, streams it through decoding, a pool of tokenizer actors and the
writer, and sums up. Killed and run again with the same settings, it does only what is left.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset, TaskPoolStrategy

from pipelines import manifest
from pipelines.cluster import connect, count_actors
from pipelines.corpus.commits import Figures, add_figures, read_commits, reconcile
from pipelines.corpus.index import prepare_index
from pipelines.corpus.preview import write_preview
from pipelines.corpus.progress import Progress
from pipelines.corpus.records import Index, Source
from pipelines.corpus.sources.coco import CocoSource
from pipelines.corpus.sources.scenes import ScenesSource
from pipelines.corpus.stages import SHARDS, DecodeStage, WriteStage
from pipelines.corpus.tokenize_stage import TokenizeStage
from pipelines.storage import Place
from samtok.errors import CheckpointError, ConfigError
from samtok.tokenizer import SAMTok

_MAX_PASSES = 3
_ACTOR_CPU_SHARE = 0.75
_DECODE_CPUS = 0.25
_WRITE_CPUS = 0  # never waits for decoding to end: a block counts as done once it is written


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizeConfig:
    """Settings of the tokenization job."""

    source: Literal["coco", "scenes"]
    """coco: COCO instances JSON with an image folder. scenes: built-in scenes, no files needed."""
    output: str
    """Folder or s3:// prefix to write to; a run that was killed there is continued."""
    annotations: str | None = None
    """coco: the instances JSON, local or s3://."""
    images: str | None = None
    """coco: the image folder, local or s3://."""
    num_images: int = 200
    """scenes: how many."""
    split: Literal["train", "val", "test"] = "train"
    """scenes: which split."""
    seed: int = 0
    """scenes: which world of scenes."""
    tokenizer: str = "tiny"
    """tiny (packaged), a folder with config.json and model.safetensors, or a published .pth file.
    Every node must be able to read it."""
    reconstruct: bool = False
    """Decode every mask again and fill reconstruction_iou; the heads then work twice."""
    limit: int | None = None
    """Only the first so many images."""
    num_actors: int | None = None
    """Tokenizer actors; default: as many as the cluster's GPUs (or CPUs) hold."""
    cpus_per_actor: float = 1.0
    """CPUs an actor may use; its torch threads. It reserves three quarters of them with Ray, so
    that decoding finds room."""
    gpus_per_actor: float = 0.0
    """GPUs per actor: 0 runs on the CPU; 0.5 puts two actors on a GPU."""
    images_per_batch: int = 16
    """Images handed to an actor at a time. Does not change the codes."""
    images_per_block: int = 128
    """Images listed per block, the unit of resuming: at most this many are lost per actor."""
    preview_images: int = 6
    """Rows of the picture of masks beside their reconstructions; 0 draws none."""
    dry_run: bool = False
    """List the corpus, check the settings, say what would run, and stop."""

    def __post_init__(self) -> None:
        for name in ("images_per_batch", "images_per_block"):
            _at_least(1, name, getattr(self, name))
        for name in ("limit", "num_actors"):
            if getattr(self, name) is not None:
                _at_least(1, name, getattr(self, name))
        for name in ("gpus_per_actor", "preview_images"):
            _at_least(0, name, getattr(self, name))
        if self.cpus_per_actor <= 0:
            raise ConfigError(f"--cpus-per-actor is {self.cpus_per_actor}; it must be above 0")
        if self.source == "coco" and not (self.annotations and self.images):
            raise ConfigError("--source coco needs --annotations FILE and --images FOLDER")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizationSummary:
    """What a run did and what its output holds."""

    output: str
    figures: Figures
    """Over everything in the output, earlier runs included."""
    num_masks_listed: int
    """Rows in: annotations of the corpus, good and bad."""
    num_quarantined_masks: int
    """Masks among the quarantined rows."""
    images_embedded_now: int
    """Backbone passes of this run."""
    seconds: float
    """Of this run, start-up included."""
    seconds_streaming: float
    """From the first finished block to the last; 0 with fewer than two."""
    images_streamed: int
    """Images finished after the first block."""
    masks_streamed: int
    """Masks finished after the first block."""
    preview: str | None
    """Path of the picture."""

    @property
    def is_accounted(self) -> bool:
        """Rows in = rows out + rows quarantined."""
        return self.num_masks_listed == self.figures.num_masks + self.num_quarantined_masks


def build_source(config: TokenizeConfig) -> Source:
    """The reader that a config asks for."""
    if config.source == "coco":
        assert config.annotations is not None
        assert config.images is not None
        return CocoSource(
            annotations=config.annotations,
            images=config.images,
            images_per_shard=config.images_per_block,
        )
    return ScenesSource(
        num_images=config.num_images,
        split=config.split,
        seed=config.seed,
        images_per_shard=config.images_per_block,
    )


def _at_least(lowest: int, name: str, value: float) -> None:
    if value < lowest:
        flag = name.replace("_", "-")
        raise ConfigError(f"--{flag} is {value}; at least {lowest} is needed")


def run_tokenization(config: TokenizeConfig) -> TokenizationSummary:
    """Tokenize a corpus; resumes what an earlier run with the same settings left.

    Raises:
        ConfigError: the source cannot be read; nothing has run.
        CheckpointError: the tokenizer cannot be loaded, or the output belongs to other settings.
    """
    began = time.monotonic()
    source, output = build_source(config), Place.at(config.output)
    source.check()
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    identity = {
        **source.identity(),
        "limit": config.limit,
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "reconstruct": config.reconstruct,
    }
    begun = manifest.is_begun(output, identity)
    index = prepare_index(source, output, limit=config.limit, begun=begun)
    manifest.write_json(output, manifest.RUN_FILE, identity)
    commits = reconcile(output)
    embedded_before = add_figures(commits).num_embedded
    progress = Progress(index.num_images, done=sum(len(c.image_ids) for c in commits))
    for _ in range(_MAX_PASSES):
        todo = _list_remaining(output, index, {i for c in commits for i in c.image_ids})
        if not todo:
            break
        connect()
        with progress:
            dataset = build_dataset(config, source, output, todo, tokenizer.config.image_size)
            for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                for row in block.to_pylist():
                    progress.advance(row["num_images"], row["num_masks"])
        commits = reconcile(output)
    figures = add_figures(commits)
    if figures.num_images != index.num_images:
        raise CheckpointError(
            f"{figures.num_images} of {index.num_images} images are done after {_MAX_PASSES} "
            "passes; run the same command again"
        )
    summary = TokenizationSummary(
        output=output.uri(),
        figures=dataclasses.replace(figures, quarantined=_merge(figures, index)),
        num_masks_listed=index.num_masks + index.num_quarantined_masks,
        num_quarantined_masks=figures.num_quarantined_masks + index.num_quarantined_masks,
        images_embedded_now=figures.num_embedded - embedded_before,
        seconds=time.monotonic() - began,
        seconds_streaming=progress.seconds_streaming,
        images_streamed=progress.images_streamed,
        masks_streamed=progress.masks_streamed,
        preview=write_preview(source, output, index, tokenizer, config.preview_images),
    )
    if summary.images_embedded_now or not output.exists(manifest.MANIFEST_FILE):
        _write_manifest(output, config, identity, summary)
    return summary


def plan_tokenization(config: TokenizeConfig) -> dict[str, Any]:
    """What `run_tokenization` would do; lists the corpus into a scratch folder, runs nothing."""
    source = build_source(config)
    source.check()
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        index = source.write_index(Place.at(scratch), limit=config.limit)
    done = sum(len(c.image_ids) for c in read_commits(Place.at(config.output)))
    return {
        "images": index.num_images,
        "images done already": done,
        "masks": index.num_masks + index.num_quarantined_masks,
        "quarantined while listing": index.quarantined,
        "network input": f"{tokenizer.config.image_size} x {tokenizer.config.image_size}",
        "tokenizer fingerprint": tokenizer.fingerprint,
    }


def build_dataset(
    config: TokenizeConfig,
    source: Source,
    output: Place,
    todo: list[dict[str, Any]],
    image_size: int,
) -> Dataset:
    """The lazy dataset: decode, tokenize, write; gives one small summary row per block."""
    num_actors = count_actors(
        config.num_actors,
        cpus_per_actor=config.cpus_per_actor,
        gpus_per_actor=config.gpus_per_actor,
    )
    on_gpu = config.gpus_per_actor > 0
    shards = [pa.Table.from_pylist([row], schema=SHARDS) for row in todo]
    return (
        ray.data.from_arrow(shards)
        .map_batches(
            DecodeStage(source, output, image_size),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=_DECODE_CPUS,
        )
        .map_batches(
            TokenizeStage,
            fn_constructor_args=(config.tokenizer,),
            fn_constructor_kwargs={
                "device": "cuda" if on_gpu else "cpu",
                "num_threads": max(1, round(config.cpus_per_actor)),
                "reconstruct": config.reconstruct,
            },
            batch_size=config.images_per_batch,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=num_actors),
            num_cpus=config.cpus_per_actor * _ACTOR_CPU_SHARE,
            num_gpus=config.gpus_per_actor,
        )
        .map_batches(
            WriteStage(output),
            batch_size=None,
            batch_format="pyarrow",
            compute=TaskPoolStrategy(size=max(1, num_actors // 2)),
            num_cpus=_WRITE_CPUS,
        )
    )


def _list_remaining(output: Place, index: Index, done: set[str]) -> list[dict[str, Any]]:
    """Shards with images left to do (rows of `SHARDS`)."""
    todo = []
    for shard in index.shards:
        ids = output.read_parquet(shard, columns=["image_id"]).column(0).to_pylist()
        finished = [image_id for image_id in ids if image_id in done]
        if len(finished) < len(ids):
            todo.append({"shard": shard, "done": finished})
    return todo


def _merge(figures: Figures, index: Index) -> dict[str, int]:
    return (figures + Figures(quarantined=index.quarantined)).quarantined


def _write_manifest(
    output: Place, config: TokenizeConfig, identity: dict[str, Any], summary: TokenizationSummary
) -> None:
    manifest.write_json(
        output,
        manifest.MANIFEST_FILE,
        {
            "stage": "tokenize_corpus",
            "config": dataclasses.asdict(config),
            "identity": identity,
            "tokenizer_fingerprint": identity["tokenizer_fingerprint"],
            "counts": dataclasses.asdict(summary),
            "versions": manifest.describe_code(),
        },
    )
