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
import pyarrow.parquet as pq

from pipelines.corpus.index import write_shards
from pipelines.corpus.records import DecodedImage, DecodedMask, Index, QuarantinedRow
from pipelines.corpus_reader import CorpusFiles
from pipelines.storage import Place
from samtok.errors import ConfigError, InputError
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
        name = pointer["file"]
        try:
            group = _read_group(
                self.location, name, pointer["group"], self.columns, pointer["written"]
            )
            row: dict[str, Any] = group.slice(pointer["row"], 1).to_pylist()[0]
        except (OSError, pa.ArrowException, IndexError) as error:
            raise InputError("row_unreadable", f"{name}: {error}") from error
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
    for name in files.files:
        try:
            written = files.filesystem.get_file_info(files.place.path(name)).mtime_ns
            with files.filesystem.open_input_file(files.place.path(name)) as stream:
                parquet = pq.ParquetFile(stream)
                for group in range(parquet.num_row_groups):
                    table = parquet.read_row_group(
                        group, columns=["image_id", f"{column}.list.element.{field}"]
                    )
                    for row, listed in enumerate(table.to_pylist()):
                        pointer = {"file": name, "group": group, "row": row, "written": written}
                        values = [entry[field] for entry in listed[column] or []]
                        yield listed["image_id"], pointer, values
        except (OSError, pa.ArrowException, KeyError) as error:
            raise ConfigError(
                f"{files.place.uri(name)} cannot be read as part of a corpus: {error!r}; delete it "
                "and run the job that wrote it again"
            ) from error


@lru_cache(maxsize=1)
def _read_group(
    location: str, name: str, group: int, columns: tuple[str, ...] | None, written: int
) -> pa.Table:
    """A row group; `written` is the file's time, so that a file made anew is read anew."""
    place = Place.at(location)
    with place.filesystem.open_input_file(place.path(name)) as stream:
        return pq.ParquetFile(stream).read_row_group(
            group, columns=list(columns) if columns else None
        )
