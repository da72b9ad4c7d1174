"""The stages around the tokenizer, as Ray Data runs them: decode before it, write after it.

Each takes an Arrow table of images and gives one. Nothing here imports torch, which would take
350 MB in every worker that opens images or writes files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipelines import columns
from pipelines.corpus.commits import write_block
from pipelines.corpus.index import in_batches, iterate_rows
from pipelines.corpus.records import DecodedImage, Source
from pipelines.storage import Place
from samtok.tokenizer.image_transform import resize_image

_IMAGES_PER_DECODE_BATCH = 8

SHARDS = pa.schema([("shard", pa.string()), ("done", pa.list_(pa.string()))])
"""Work to do: an index shard, and those of its images that earlier runs finished."""

BLOCK_SUMMARY = pa.schema([("num_images", pa.int64()), ("num_masks", pa.int64())])


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
        for shard in table.to_pylist():
            done = set(shard["done"])
            todo = (
                row
                for row in iterate_rows(self._output, [shard["shard"]])
                if row["image_id"] not in done
            )
            for rows in in_batches(todo, _IMAGES_PER_DECODE_BATCH):
                images = [self._source.decode(row["image_id"], row["payload"]) for row in rows]
                decoded = [self._to_row(image) for image in images]
                yield pa.Table.from_pylist(decoded, schema=columns.DECODED)

    def _to_row(self, image: DecodedImage) -> dict[str, Any]:
        height, width = (0, 0) if image.pixels is None else image.pixels.shape[:2]
        pixels = None
        if image.pixels is not None and image.masks:
            pixels = resize_image(image.pixels, self._image_size).tobytes()
        return {
            "image_id": image.image_id,
            "image_uri": image.image_uri,
            "height": height,
            "width": width,
            "source": self._source.name,
            "pixels": pixels,
            "masks": [asdict(mask) for mask in image.masks],
            "quarantined": [asdict(row) for row in image.quarantined],
        }


class WriteStage:
    """Write words and quarantine of a block and then its commit record.

    Columns in: `columns.TOKENIZED`. Columns out: `BLOCK_SUMMARY`, one row per block.

    Args:
        output: where the job writes.
    """

    def __init__(self, output: Place) -> None:
        self._output = output

    def __call__(self, table: pa.Table) -> pa.Table:
        """Write a block; returns its summary row."""
        commit = write_block(self._output, table.to_pylist())
        summary = {"num_images": len(commit.image_ids), "num_masks": commit.num_masks}
        return pa.Table.from_pylist([summary], schema=BLOCK_SUMMARY)
