"""Listing the rows of a Corpus or of embeddings, and reading them again one by one.

An index row points at a row of a Parquet file. Workers take rows in order, so one row group is kept
at hand; that is the most that is read at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import pyarrow as pa

from pipelines.corpus.index import write_shards
from pipelines.corpus.records import DecodedImage, DecodedMask, Index
from pipelines.corpus_reader import CorpusFiles
from pipelines.quarantined_row import QuarantinedRow
from pipelines.row_groups import RowGroup, read_row_groups, scan_row_groups
from pipelines.storage import Place
from samtok.errors import InputError
from samtok.masks import rle_area
from samtok.masks.rle import check_rle_size


def write_row_index(
    files: CorpusFiles, output: Place, *, limit: int | None, images_per_shard: int
) -> Index:
    """List all rows of a Corpus or of embeddings, in order.

    Raises:
        ConfigError: a file cannot be read.
    """
    num_images = num_masks = 0

    def count() -> Iterator[dict[str, str]]:
        nonlocal num_images, num_masks
        for image_id, pointer, mask_ids in islice(list_rows(files, "masks", "mask_id"), limit):
            num_images += 1
            num_masks += len(mask_ids)
            payload = json.dumps({**pointer, "mask_ids": mask_ids})
            yield {"image_id": image_id, "payload": payload}

    shards = write_shards(output, count(), images_per_shard=images_per_shard)
    return Index(
        shards=shards,
        num_images=num_images,
        num_masks=num_masks,
        quarantined={},
        num_quarantined_masks=0,
    )


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads the rows that an index of :func:`write_row_index` points at.

    Args:
        location: the Corpus or the embeddings.
        columns: those to read; None reads all.
    """

    location: str
    columns: tuple[str, ...] | None

    def read(self, payload: str) -> tuple[dict[str, Any], list[str]]:
        """The row at `payload`, and the ids of its masks.

        Raises:
            InputError: ``row_unreadable``; its file is damaged or gone.
        """
        pointer = json.loads(payload)
        return self.read_at(pointer), pointer["mask_ids"]

    def read_at(self, pointer: dict[str, Any]) -> dict[str, Any]:
        """The row that :func:`list_rows` says is there.

        Raises:
            InputError: ``row_unreadable``; its file is damaged or gone.
        """
        group = RowGroup(*pointer["group"])
        try:
            table = _read_group(self.location, group, self.columns)
            row: dict[str, Any] = table.slice(pointer["row"], 1).to_pylist()[0]
        except (OSError, pa.ArrowException, IndexError) as error:
            raise InputError("row_unreadable", f"{group.file}: {error}") from error
        return row

    @staticmethod
    def mask_ids(payload: str) -> list[str]:
        """Ids of the masks of a row, without reading it."""
        ids: list[str] = json.loads(payload)["mask_ids"]
        return ids


def check_masks(
    rows: Sequence[dict[str, Any]], image: DecodedImage
) -> tuple[list[DecodedMask], list[QuarantinedRow]]:
    """Masks of a row that fit its image, and those that do not.

    Run lengths are checked as they are, not drawn: whoever wrote the row had drawn them.
    """
    masks, quarantined = [], []
    for row in rows:
        try:
            check_rle_size(row["rle"], image.height, image.width)
            if not rle_area(row["rle"]):
                raise InputError("mask_empty", "the RLE has no foreground")
        except InputError as error:
            quarantined.append(
                QuarantinedRow.of(
                    error,
                    source=image.source,
                    image_id=image.image_id,
                    mask_id=row["mask_id"],
                    stage="decode",
                )
            )
            continue
        masks.append(DecodedMask(**row))
    return masks, quarantined


def list_rows(
    files: CorpusFiles, column: str, field: str
) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """All rows in order: image id, where the row is, and a field of each entry of a list column.

    Raises:
        ConfigError: a file cannot be read.
    """
    columns = ["image_id", f"{column}.list.element.{field}"]
    for group, table in scan_row_groups(files.place, files.files, columns):
        for number, row in enumerate(table.to_pylist()):
            values = [entry[field] for entry in row[column] or []]
            yield row["image_id"], {"group": group, "row": number}, values


@lru_cache(maxsize=1)
def _read_group(location: str, group: RowGroup, columns: tuple[str, ...] | None) -> pa.Table:
    (table,) = read_row_groups(Place.at(location), [group], columns)
    return table
