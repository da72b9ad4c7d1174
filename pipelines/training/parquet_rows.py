"""Rows of a finished output by position: any run of them, in any order, from any process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, Self, TypeVar

import pyarrow as pa

from pipelines.corpus_reader import CorpusFiles
from pipelines.row_groups import RowGroup, read_row_groups, scan_row_groups

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetRows(ABC, Generic[Row]):
    """Rows of an output; subclasses say which columns are read and what is made of them."""

    files: CorpusFiles
    """Where it lies."""
    row_groups: tuple[RowGroup, ...]
    """In order."""
    starts: tuple[int, ...]
    """Position of the first row of each row group, and behind the last row of all."""

    @classmethod
    def of(cls, files: CorpusFiles) -> Self:
        """Read the footers of the files, and nothing else."""
        groups = tuple(group for group, _ in scan_row_groups(files.place, files.files))
        starts = tuple(accumulate((group.num_rows for group in groups), initial=0))
        return cls(files=files, row_groups=groups, starts=starts)

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return self.files.digest

    def read(self, start: int, stop: int) -> Iterator[Row]:
        """Rows [start, stop), a row group at a time."""
        first = bisect_right(self.starts, start) - 1
        groups = self.row_groups[first : bisect_left(self.starts, stop)]
        tables = read_row_groups(self.files.place, groups, self._columns)
        for position, table in zip(self.starts[first:], tables, strict=False):
            begin = max(0, start - position)
            yield from self._rows(table.slice(begin, stop - position - begin))

    @property
    @abstractmethod
    def _columns(self) -> Sequence[str]:
        """Those that are read."""

    @abstractmethod
    def _rows(self, table: pa.Table) -> Iterator[Row]:
        """What is made of them."""
