"""Records on their way to a server that may go away: kept in order, sent by one thread.

Knows nothing of the server; `pipelines.tracking` says how a record is sent.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import textwrap
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

_MAX_RECORDS_PER_SEND: Final = 200
_MAX_REFUSALS: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One thing to send."""

    kind: str
    """What it is, e.g. ``"metrics"``; consecutive records of a `batched` kind go together."""
    payload: dict[str, Any]
    """What the sender needs; JSON values."""
    batched: bool = False
    """Whether it may be sent together with the records of its kind next to it."""
    drop_order: int | None = None
    """When the queue is full, records of order 0 are dropped first, then 1; None never."""
    folder: Path | None = None
    """Folder of files to send, deleted once the record is settled."""
    settled: threading.Event = field(default_factory=threading.Event)
    """Set once the record is sent, refused or dropped."""


class Outbox:
    """A bounded queue of records and the thread that sends them, in order.

    :meth:`put` never waits and never fails. While the server does not answer, the thread says so
    once, keeps what is queued and tries again, at pauses of up to ten seconds. A record that the
    server refuses three times while it answers otherwise is given up, with a warning.

    Args:
        send: sends records of one kind, oldest first; any exception means that they, or some of
            them, did not arrive. It may get the same records again.
        is_answering: whether the server answers at all; tells an outage from a refused record.
        destination: name of the server in warnings.
        capacity: records kept at most, apart from those that are never dropped; >= 1.
    """

    def __init__(
        self,
        *,
        send: Callable[[list[Record]], None],
        is_answering: Callable[[], bool],
        destination: str,
        capacity: int,
    ) -> None:
        self._send = send
        self._is_answering = is_answering
        self._destination = destination
        self._capacity = capacity
        self._queue: deque[Record] = deque()
        self._in_flight: list[Record] = []
        self._changed = threading.Condition()
        self._closing = False
        self._abandoned = False
        self._is_outage = False
        self._num_dropped = 0
        self._refused_kinds: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        """Queue a record; a full queue loses its oldest droppable one, perhaps this one."""
        with self._changed:
            if self._closing:
                logger.warning("%s logged after the end is not sent", record.kind)
                record.settled.set()
                return
            self._queue.append(record)
            if len(self._queue) > self._capacity:
                self._drop_one()
            self._changed.notify()

    def close(self, timeout_seconds: float) -> list[Record]:
        """Send what is queued, for `timeout_seconds` at most, and stop the thread.

        Returns:
            What was not sent, oldest first; a record being sent at that moment is among it, and
            may still arrive.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_seconds)
        with self._changed:
            self._abandoned = True
            self._changed.notify()
            self._warn_of_dropped()
            waiting = [*self._in_flight, *self._queue]
            return [record for record in waiting if not record.settled.is_set()]

    def _run(self) -> None:
        while batch := self._take():
            self._deliver(batch)
            with self._changed:
                if self._abandoned:
                    return
                self._in_flight = []

    def _take(self) -> list[Record]:
        """The next records to send together; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if self._abandoned or not self._queue:
                return []
            first = self._queue[0]
            alike = itertools.takewhile(lambda r: r.batched and r.kind == first.kind, self._queue)
            batch = list(itertools.islice(alike, _MAX_RECORDS_PER_SEND)) or [first]
            for _ in batch:
                self._queue.popleft()
            self._in_flight = batch
            return batch

    def _deliver(self, batch: list[Record]) -> None:
        refusals, pause = 0, _FIRST_PAUSE_SECONDS
        while not self._abandoned:
            try:
                self._send(batch)
            except Exception as error:  # clients raise anything, and this thread must not end
                if self._is_answering():
                    refusals += 1
                else:
                    self._note_outage(error)
                if refusals == _MAX_REFUSALS:
                    self._give_up(batch, error)
                    return
            else:
                self._note_answer()
                for record in batch:
                    _settle(record)
                return
            pause = self._pause(pause)

    def _pause(self, seconds: float) -> float:
        """Wait, less if the end comes; the next pause in seconds."""
        with self._changed:
            was_closing = self._closing
            self._changed.wait_for(
                lambda: self._abandoned or self._closing != was_closing, timeout=seconds
            )
            if self._closing and not was_closing:  # the last chance: try at once, and often
                return _FIRST_PAUSE_SECONDS
        return min(seconds * 2, _LONGEST_PAUSE_SECONDS)

    def _give_up(self, batch: list[Record], error: Exception) -> None:
        if len(batch) > 1:  # one bad record must not take its neighbours with it
            for record in batch:
                self._deliver([record])
            return
        (record,) = batch
        if record.kind not in self._refused_kinds:
            self._refused_kinds.add(record.kind)
            logger.warning(
                "%s refused %s, which are lost (more of them will be lost silently): %s",
                self._destination,
                record.kind,
                textwrap.shorten(str(error), 500),
            )
        _settle(record)

    def _note_outage(self, error: Exception) -> None:
        if not self._is_outage:
            self._is_outage = True
            logger.warning(
                "%s does not answer; up to %d records are kept and sent when it does: %s",
                self._destination,
                self._capacity,
                textwrap.shorten(str(error), 500),
            )

    def _note_answer(self) -> None:
        if self._is_outage:
            self._is_outage = False
            logger.warning("%s answers again", self._destination)
            with self._changed:
                self._warn_of_dropped()

    def _drop_one(self) -> None:
        for order in (0, 1):
            for position, record in enumerate(self._queue):
                if record.drop_order == order:
                    del self._queue[position]
                    _settle(record)
                    if not self._num_dropped:
                        logger.warning(
                            "%d records wait for %s: the oldest are dropped from now on",
                            self._capacity,
                            self._destination,
                        )
                    self._num_dropped += 1
                    return

    def _warn_of_dropped(self) -> None:
        if self._num_dropped:
            logger.warning(
                "%d records for %s were dropped while more than %d waited",
                self._num_dropped,
                self._destination,
                self._capacity,
            )
            self._num_dropped = 0


def _settle(record: Record) -> None:
    if record.folder is not None:
        shutil.rmtree(record.folder, ignore_errors=True)
    record.settled.set()
