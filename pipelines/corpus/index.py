"""Index shards: the list of a corpus on disk, so that nobody holds it in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any, Final, TypeVar

import pyarrow as pa

from pipelines import columns
from pipelines.corpus.records import Index, Listing
from pipelines.manifest import read_json, write_json
from pipelines.quarantined_row import QuarantinedRow
from pipelines.storage import Place

INDEX_FOLDER: Final = "_index"
QUARANTINE_FOLDER: Final = "quarantine"
INDEX_QUARANTINE_PREFIX: Final = "index-"
_INDEX_FILE: Final = f"{INDEX_FOLDER}/index.json"
_ROWS_PER_QUARANTINE_FILE = 50_000

Row = TypeVar("Row")


def prepare_index(source: Listing, output: Place, *, limit: int | None, begun: bool) -> Index:
    """The corpus's index under `output`: that of the run that has `begun` there, else a new one.

    Raises:
        ConfigError: the source cannot be listed; the output can be used again once it can.
    """
    known = read_json(output, _INDEX_FILE) if begun else None
    if known is not None:
        return Index(**known)
    output.delete(INDEX_FOLDER)  # of a listing that was cut short
    index = source.write_index(output, limit=limit)
    write_json(output, _INDEX_FILE, asdict(index))
    return index


def write_shards(
    output: Place, rows: Iterable[dict[str, str]], *, images_per_shard: int, prefix: str = "part"
) -> list[str]:
    """Write index rows as shards of at most `images_per_shard` images; returns their names."""
    names = []
    for number, batch in enumerate(in_batches(rows, images_per_shard)):
        name = f"{INDEX_FOLDER}/{prefix}-{number:06d}.parquet"
        output.write_parquet(name, pa.Table.from_pylist(batch, schema=columns.INDEX))
        names.append(name)
    return names


def write_index_quarantine(
    output: Place, rows: Iterable[QuarantinedRow]
) -> tuple[dict[str, int], int]:
    """Write rows quarantined while listing.

    Returns:
        Their number by reason, and how many of them are masks.
    """
    by_reason: Counter[str] = Counter()
    num_masks = 0
    for number, batch in enumerate(in_batches(rows, _ROWS_PER_QUARANTINE_FILE)):
        table = pa.Table.from_pylist([asdict(row) for row in batch], schema=columns.QUARANTINE)
        name = f"{QUARANTINE_FOLDER}/{INDEX_QUARANTINE_PREFIX}{number:06d}.parquet"
        output.write_parquet(name, table)
        by_reason.update(row.reason for row in batch)
        num_masks += sum(row.mask_id is not None for row in batch)
    return dict(by_reason), num_masks


def iterate_rows(output: Place, shards: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Index rows in order, a shard at a time."""
    for shard in shards:
        yield from output.read_parquet(shard).to_pylist()


def in_batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Lists of up to `size` rows."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch
