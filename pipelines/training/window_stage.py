"""From planned windows to micro-batches: what the Ray Data stages that feed trainings share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pyarrow as pa

from pipelines.training.plan import Mixture, Run, Window, shuffle_of

_RUN: Final = pa.struct([(name, pa.int64()) for name in Run._fields])
_WINDOW: Final = pa.struct([("lane", pa.int64()), ("number", pa.int64()), ("runs", pa.list_(_RUN))])
TICKETS: Final = pa.schema([("windows", pa.list_(_WINDOW))])
"""Work for one task: windows of the same number, one for each lane of a worker."""

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowStage(ABC):
    """Read windows and cut them into micro-batches, on CPU workers.

    Columns in: `TICKETS`. Columns out: those of `schema`; the first micro-batch of every lane, then
    the second of every lane, and so on.
    """

    mixture: Mixture
    images_per_lane: int
    """Rows of a micro-batch; divides the mixture's window."""

    @property
    def batches_per_window(self) -> int:
        """Micro-batches that a window makes, whatever is left out of it."""
        return self.mixture.images_per_window // self.images_per_lane

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """Of micro-batches."""

    @abstractmethod
    def load(self, window: Window) -> Iterator[dict[str, Any]]:
        """The micro-batches of a window, `batches_per_window` of them."""

    def __call__(self, tickets: pa.Table) -> Iterator[pa.Table]:
        """Micro-batches of the windows of each ticket."""
        for ticket in tickets.to_pylist():
            windows = [
                Window(w["lane"], w["number"], tuple(Run(**run) for run in w["runs"]))
                for w in ticket["windows"]
            ]
            for rows in zip(*map(self.load, windows), strict=True):
                yield pa.Table.from_pylist(list(rows), schema=self.schema)

    def shuffle(self, window: Window, items: Sequence[Item | None]) -> list[Item]:
        """The items of a window in the order in which they are used, without those left out."""
        order = shuffle_of(self.mixture, window).tolist()
        return [item for position in order if (item := items[position]) is not None]
