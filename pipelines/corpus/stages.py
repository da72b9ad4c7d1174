"""The stages between a corpus and its mask words, as Ray Data runs them.

Each takes an Arrow table of images and gives one. The arithmetic is samtok's; here it only meets
rows. Images are encoded one by one, so that codes do not depend on who shares a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipelines import columns
from pipelines.corpus.commits import write_block
from pipelines.corpus.index import in_batches, iterate_rows
from pipelines.corpus.records import DecodedImage, QuarantinedRow, Source
from pipelines.storage import Place
from samtok.errors import InputError
from samtok.masks import decode_rles
from samtok.metrics.reconstruction import reconstruct
from samtok.tokenizer import SAMTok
from samtok.tokenizer.image_transform import resize_image

_IMAGES_PER_DECODE_BATCH = 8
_MASK_PIXELS_AT_ONCE = 1 << 26

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


class TokenizeStage:
    """Encode all masks of each image, in a pool of actors.

    Columns in: `columns.DECODED`. Columns out: `columns.TOKENIZED`. State held: the tokenizer.

    Args:
        tokenizer: as for ``SAMTok.from_pretrained``.
        device: cpu, cuda or auto.
        num_threads: torch threads on the CPU.
        reconstruct: decode every mask too and measure its IoU.
    """

    def __init__(self, tokenizer: str, *, device: str, num_threads: int, reconstruct: bool) -> None:
        torch.set_num_threads(num_threads)
        self._tokenizer = SAMTok.from_pretrained(tokenizer, device=device)
        self._reconstruct = reconstruct

    def __call__(self, table: pa.Table) -> pa.Table:
        """Columns out for columns in."""
        rows = [self._tokenize(row) for row in table.to_pylist()]
        return pa.Table.from_pylist(rows, schema=columns.TOKENIZED)

    def _tokenize(self, row: dict[str, Any]) -> dict[str, Any]:
        pixels = row.pop("pixels")
        row.update(codes=[], reconstruction_iou=[], was_embedded=pixels is not None)
        if pixels is None:
            return row
        try:
            row.update(self._encode(pixels, row))
        except InputError as error:
            row["quarantined"] += [
                asdict(
                    QuarantinedRow.of(
                        error,
                        source=row["source"],
                        image_id=row["image_id"],
                        mask_id=mask["mask_id"],
                        stage="tokenize",
                    )
                )
                for mask in row["masks"]
            ]
            row["masks"] = []
        except Exception as error:
            error.add_note(f"while tokenizing image {row['image_id']} ({row['image_uri']})")
            raise
        return row

    def _encode(self, pixels: bytes, row: dict[str, Any]) -> dict[str, Any]:
        side, size = self._tokenizer.config.image_size, (row["height"], row["width"])
        image = np.frombuffer(pixels, dtype=np.uint8).reshape(side, side, 3)
        embeddings = self._tokenizer.embed(image, sizes=[size])
        rles = [mask["rle"] for mask in row["masks"]]
        if not self._reconstruct:
            return {"codes": self._tokenizer.encode(embeddings, rles).tolist()}
        codes, iou = [], []
        step = max(1, _MASK_PIXELS_AT_ONCE // (size[0] * size[1]))
        for start in range(0, len(rles), step):
            masks = decode_rles(rles[start : start + step], *size)
            part = reconstruct(self._tokenizer, embeddings, masks)
            codes += part.codes.tolist()
            iou += part.iou.tolist()
        return {"codes": codes, "reconstruction_iou": iou}


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
