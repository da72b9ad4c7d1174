"""A corpus in, image embeddings out: one backbone pass per image, for any number of later runs.

The output is `pipelines.columns.EMBEDDINGS`, read through `pipelines.corpus_reader`. It needs no
join: every row carries the masks of its image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ray.data import Dataset

from pipelines.corpus.actor_pool import ActorJobConfig, build_actor_dataset
from pipelines.corpus.commits import Ledger
from pipelines.corpus.embed_stage import EmbedStage
from pipelines.corpus.embedding_rows import EMBEDDINGS_FOLDER, build_embeddings_block
from pipelines.corpus.job_config import build_source
from pipelines.corpus.records import Source
from pipelines.corpus.run import RunSummary, Todo, plan_blocks, run_blocks, write_run_manifest
from pipelines.corpus_reader import EMBED_STAGE
from pipelines.storage import Place
from samtok.tokenizer import SAMTok, TokenizerConfig

_BYTES_PER_VALUE = 2  # float16
# Uncompressed, as zstd saves a tenth of the maps and reads at a quarter of the speed; groups are
# what a reader holds at a time.
_COMPRESSION = "none"
_BYTES_PER_GROUP = 1 << 25


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig(ActorJobConfig):
    """Settings of the embedding job."""

    images_per_batch: int = 8
    """Images handed to an actor at a time, whose embeddings it then holds. Does not change them."""


def run_embedding(config: EmbedConfig) -> RunSummary:
    """Embed a corpus; resumes what an earlier run with the same settings left.

    Raises:
        ConfigError: the source cannot be read; nothing has run.
        CheckpointError: the tokenizer cannot be loaded, or the output belongs to other settings.
    """
    source, ledger = build_source(config), build_ledger(config)
    source.check()
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    shape, fingerprint = tokenizer.config, tokenizer.backbone_fingerprint
    run = run_blocks(
        source,
        ledger,
        identity={"backbone_fingerprint": fingerprint},
        limit=config.limit,
        verb="embedding",
        build_dataset=lambda todo: build_dataset(config, source, ledger, todo, shape.image_size),
    )
    write_run_manifest(
        ledger,
        run,
        stage=EMBED_STAGE,
        config=config,
        backbone_fingerprint=fingerprint,
        image_size=shape.image_size,
        dtype="float16",
        shapes={f"embedding_{name}": list(of) for name, of in shape.embedding_shapes.items()},
        bytes_per_image=count_bytes_per_image(shape),
    )
    return run.summary


def plan_embedding(config: EmbedConfig) -> dict[str, Any]:
    """What `run_embedding` would do, and what it would take to keep; runs nothing."""
    source = build_source(config)
    source.check()
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    plan = plan_blocks(source, build_ledger(config), limit=config.limit)
    per_image = count_bytes_per_image(tokenizer.config)
    return {
        **plan,
        "network input": f"{tokenizer.config.image_size} x {tokenizer.config.image_size}",
        "backbone fingerprint": tokenizer.backbone_fingerprint,
        "bytes per image": f"{per_image:,}",
        "bytes in all, at most": f"{per_image * plan['images']:,}",
    }


def count_bytes_per_image(config: TokenizerConfig) -> int:
    """Bytes of the three maps of one image."""
    shapes = config.embedding_shapes.values()
    return _BYTES_PER_VALUE * sum(math.prod(shape) for shape in shapes)


def build_ledger(config: EmbedConfig) -> Ledger:
    """The books of the output."""
    return Ledger(
        output=Place.at(config.output),
        folder=EMBEDDINGS_FOLDER,
        compression=_COMPRESSION,
        bytes_per_group=_BYTES_PER_GROUP,
    )


def build_dataset(
    config: EmbedConfig, source: Source, ledger: Ledger, todo: Todo, image_size: int
) -> Dataset:
    """The lazy dataset: decode, embed, write; gives one small summary row per block."""
    return build_actor_dataset(
        config,
        source,
        ledger,
        todo,
        image_size=image_size,
        stage=EmbedStage,
        stage_arguments={},
        build_block=build_embeddings_block,
    )
