"""Row groups of Parquet files: listed once, and read again by whoever is told of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.storage import Place
from samtok.errors import ConfigError


class RowGroup(NamedTuple):
    """Rows of a file that are read together; as JSON it is a list."""

    file: str
    """Name relative to the place."""
    number: int
    """Of the row group in its file, from 0."""
    num_rows: int
    written: int
    """Time of the file, in ns: a file made anew has another."""


def scan_row_groups(
    place: Place, files: Iterable[str], columns: Sequence[str] = ()
) -> Iterator[tuple[RowGroup, pa.Table]]:
    """All row groups in order, each with some of its columns.

    Args:
        place: where the files are.
        files: their names.
        columns: those to read; without any, nothing but the files' footers is.

    Raises:
        ConfigError: a file cannot be read, or lacks a column.
    """
    for name in files:
        path = place.path(name)
        try:
            written = place.filesystem.get_file_info(path).mtime_ns
            with place.filesystem.open_input_file(path) as stream:
                parquet = pq.ParquetFile(stream)
                for number in range(parquet.num_row_groups):
                    table = _read(parquet, number, columns)
                    yield RowGroup(name, number, table.num_rows, written), table
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(
                f"{place.uri(name)} cannot be read: {error}; it has to be made again"
            ) from error


def read_row_groups(
    place: Place, groups: Iterable[RowGroup], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Row groups, one after the other, or some columns of them.

    Raises:
        OSError: a file cannot be read.
        pyarrow.ArrowException: it is no longer a Parquet file of such columns.
    """
    for file, members in groupby(groups, key=lambda group: group.file):
        with place.filesystem.open_input_file(place.path(file)) as stream:
            parquet = pq.ParquetFile(stream)
            for group in members:
                yield _read(parquet, group.number, columns)


def _read(parquet: pq.ParquetFile, number: int, columns: Sequence[str] | None) -> pa.Table:
    lacking = {name.split(".")[0] for name in columns or ()} - set(parquet.schema_arrow.names)
    if lacking:  # read_row_group would leave them out
        raise pa.ArrowKeyError(f"it lacks the columns {', '.join(sorted(lacking))}")
    return parquet.read_row_group(number, columns=None if columns is None else list(columns))
