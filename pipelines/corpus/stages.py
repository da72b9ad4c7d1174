"""The stages around the tokenizer, as Ray Data runs them: decode before it, write after it.

Each takes an Arrow table of images and gives one. Nothing here imports torch, which would take
350 MB in every worker that opens images or writes files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipelines import columns
from pipelines.corpus.commits import Block, Commit, Ledger
from pipelines.corpus.index import in_batches, iterate_rows
from pipelines.corpus.records import DecodedImage, Source
from pipelines.storage import Place
from samtok.tokenizer.image_transform import resize_image

_IMAGES_PER_DECODE_BATCH = 8

SHARDS = pa.schema([("shard", pa.string()), ("done", pa.list_(pa.string()))])
"""Work to do: an index shard, and those of its images that earlier runs finished."""

BLOCK_SUMMARY = pa.schema([("num_images", pa.int64()), ("num_items", pa.int64())])
"""What a block holds; items are masks, or whatever the job counts instead."""


def list_todo(output: Place, shards: pa.Table) -> Iterator[dict[str, Any]]:
    """Index rows (`columns.INDEX`) of `SHARDS` that are left to do."""
    for shard in shards.to_pylist():
        done = set(shard["done"])
        for row in iterate_rows(output, [shard["shard"]]):
            if row["image_id"] not in done:
                yield row


def summarize(commit: Commit) -> pa.Table:
    """The `BLOCK_SUMMARY` row of a block that was written."""
    figures = commit.figures
    summary = {"num_images": figures.num_images, "num_items": figures.num_items}
    return pa.Table.from_pylist([summary], schema=BLOCK_SUMMARY)


class DecodeStage:
    """Read index shards; open and check their images, on CPU workers.

    Columns in: `SHARDS`. Columns out: `columns.DECODED`, a few images at a time, so that the actors
    start before a shard is through. State held: none.

    Args:
        source: the corpus.
        output: where the index lies.
        image_size: side of the network input; pixels leave at that size, so blocks stay small.
    """

    def __init__(self, source: Source, output: Place, image_size: int) -> None:
        self._source = source
        self._output = output
        self._image_size = image_size

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Tables of `columns.DECODED` from a table of `SHARDS`."""
        for rows in in_batches(list_todo(self._output, table), _IMAGES_PER_DECODE_BATCH):
            images = [self._source.decode(row["image_id"], row["payload"]) for row in rows]
            decoded = [self._to_row(image) for image in images]
            yield pa.Table.from_pylist(decoded, schema=columns.DECODED)

    def _to_row(self, image: DecodedImage) -> dict[str, Any]:
        pixels = None
        if image.pixels is not None and image.masks:
            pixels = resize_image(image.pixels, self._image_size).tobytes()
        maps = image.maps if image.maps and image.masks else {}
        return {
            "image_id": image.image_id,
            "image_uri": image.image_uri,
            "height": image.height,
            "width": image.width,
            "source": image.source,
            "pixels": pixels,
            **maps,
            "masks": [asdict(mask) for mask in image.masks],
            "is_rejected": image.is_rejected,
            "quarantined": [asdict(row) for row in image.quarantined],
        }


class WriteStage:
    """Write the rows and quarantine of a block and then its commit record.

    Columns in: those that `build_block` takes. Columns out: `BLOCK_SUMMARY`, one row per block.

    Args:
        ledger: of the job's output.
        build_block: turns images into rows of the output.
    """

    def __init__(self, ledger: Ledger, build_block: Callable[[pa.Table], Block]) -> None:
        self._ledger = ledger
        self._build_block = build_block

    def __call__(self, table: pa.Table) -> pa.Table:
        """Write a block; returns its summary row."""
        return summarize(self._ledger.write_block(self._build_block(table)))
