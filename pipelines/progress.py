"""Progress of a job over the rows of its input: a bar for people, a line now and then for logs."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)

_SECONDS_BETWEEN_LINES: Final = 5.0
MIN_SECONDS_FOR_RATES: Final = 2.0
"""Below this a rate says more about when two blocks happened to end than about speed."""


class Progress:
    """Counts finished rows and what they give, and shows both per second.

    Rates are those of this run; the first block's rows are left out of them, as they carry the
    start-up of the actors.

    Args:
        total: rows of the input.
        verb: what is done to them.
        done: rows finished by earlier runs.
        rows: what a row is, in the plural.
        items: what a row gives, in the plural.
    """

    def __init__(
        self,
        total: int,
        *,
        verb: str,
        done: int = 0,
        rows: str = "images",
        items: str = "masks",
    ) -> None:
        self._verb = verb
        self._rows = rows
        self._items = items
        self._total = total
        self._done = done
        self._first: float | None = None
        self._last = 0.0
        self._last_line = 0.0
        self.rows_streamed = 0
        self.items_streamed = 0
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            self._bar = Bar(
                TextColumn(verb),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(rows + "  {task.fields[rates]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(verb, total=total, completed=done, rates="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds_streaming(self) -> float:
        """From the first finished block to the last."""
        return self._last - self._first if self._first is not None else 0.0

    def advance(self, num_rows: int, num_items: int) -> None:
        """Count a finished block."""
        now = time.monotonic()
        self._done += num_rows
        self._last = now
        if self._first is None:
            self._first = now
        else:
            self.rows_streamed += num_rows
            self.items_streamed += num_items
        rates = self._rates()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rates=rates)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last_line = now
            line = f"{self._verb}: {self._done} of {self._total} {self._rows}  {rates}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201

    def _rates(self) -> str:
        seconds = self.seconds_streaming
        if seconds < MIN_SECONDS_FOR_RATES:
            return ""
        rows, items = self.rows_streamed / seconds, self.items_streamed / seconds
        return f"{rows:.1f} {self._rows}/s  {items:.1f} {self._items}/s"
