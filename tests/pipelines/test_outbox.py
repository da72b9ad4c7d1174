"""The outbox: order, batches, outages, refusals and the bound of its queue."""

import logging
import threading

import pytest

from pipelines import outbox as outbox_module
from pipelines.outbox import Outbox, Record


class Mailbox:
    """A receiving end in this process that can be shut, or refuse some records."""

    def __init__(self):
        self.received, self.batch_sizes, self.refused = [], [], set()
        self.is_open = threading.Event()
        self.is_open.set()
        self.was_tried = threading.Event()

    def send(self, records):
        self.was_tried.set()
        if not self.is_open.is_set():
            raise ConnectionError("shut")
        if any(record.payload["n"] in self.refused for record in records):
            raise ValueError("not this one")
        self.batch_sizes.append(len(records))
        self.received += [record.payload["n"] for record in records]


def record(n, **options):
    return Record(kind=options.pop("kind", "metrics"), payload={"n": n}, **options)


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def outbox(mailbox, monkeypatch):
    monkeypatch.setattr(outbox_module, "_FIRST_PAUSE_SECONDS", 0.02)
    box = Outbox(
        send=mailbox.send,
        is_answering=mailbox.is_open.is_set,
        destination="mailbox",
        capacity=10,
    )
    yield box
    box.close(0)


def shut(mailbox, outbox):
    """Shuts the mailbox and waits until the outbox, holding one record, has noticed."""
    mailbox.is_open.clear()
    mailbox.was_tried.clear()
    outbox.put(record("first", kind="tags"))
    assert mailbox.was_tried.wait(60)


def test_order_is_kept_through_an_outage(mailbox, outbox, caplog):
    shut(mailbox, outbox)
    for n in range(8):
        outbox.put(record(n, kind="tags" if n % 3 == 0 else "metrics", batched=n % 3 != 0))
    mailbox.is_open.set()
    assert outbox.close(60) == []
    assert mailbox.received == ["first", *range(8)]
    texts = [r.getMessage() for r in caplog.records]
    assert len([t for t in texts if "does not answer" in t]) == 1
    assert len([t for t in texts if "answers again" in t]) == 1


def test_neighbours_of_a_batched_kind_go_together(mailbox, outbox):
    shut(mailbox, outbox)
    for n in range(6):
        outbox.put(record(n, batched=True))
    mailbox.is_open.set()
    assert outbox.close(60) == []
    assert mailbox.received == ["first", *range(6)]
    assert mailbox.batch_sizes == [1, 6]


def test_a_full_queue_loses_its_oldest_metrics_first(mailbox, outbox, caplog):
    shut(mailbox, outbox)
    outbox.put(record("tag", kind="tags"))
    outbox.put(record("picture", kind="picture", drop_order=1))
    for n in range(30):
        outbox.put(record(n, batched=True, drop_order=0))
    mailbox.is_open.set()
    assert outbox.close(60) == []
    assert mailbox.received == ["first", "tag", "picture", *range(22, 30)]  # ten beside "first"
    assert "22 records for mailbox were dropped" in caplog.text


def test_pictures_go_next_and_the_rest_is_kept_beyond_the_bound(mailbox, outbox):
    shut(mailbox, outbox)
    for n in range(4):
        outbox.put(record(n, kind="picture", drop_order=1))
    for n in range(4, 16):
        outbox.put(record(n, kind="tags"))
    mailbox.is_open.set()
    assert outbox.close(60) == []
    assert mailbox.received == ["first", *range(4, 16)]


def test_a_refused_record_takes_no_neighbours_with_it(mailbox, outbox, caplog):
    shut(mailbox, outbox)
    mailbox.refused = {2}
    for n in range(5):
        outbox.put(record(n, batched=True))
    mailbox.is_open.set()
    assert outbox.close(60) == []
    assert mailbox.received == ["first", 0, 1, 3, 4]
    assert "mailbox refused metrics" in caplog.text


def test_close_gives_back_what_was_not_sent(mailbox, outbox, tmp_path):
    shut(mailbox, outbox)
    folder = tmp_path / "spooled"
    folder.mkdir()
    outbox.put(record("file", kind="artifact", folder=folder))
    assert [r.payload["n"] for r in outbox.close(0)] == ["first", "file"]
    assert folder.exists()


def test_folders_go_when_their_record_is_sent_or_dropped(mailbox, outbox, tmp_path):
    folders = [tmp_path / name for name in ("dropped", "sent")]
    for folder in folders:
        folder.mkdir()
    shut(mailbox, outbox)
    outbox.put(record("p", kind="picture", drop_order=1, folder=folders[0]))
    for n in range(10):
        outbox.put(record(n, kind="tags"))
    assert not folders[0].exists()
    mailbox.is_open.set()
    sent = record("a", kind="artifact", folder=folders[1])
    outbox.put(sent)
    assert sent.settled.wait(60)
    assert not folders[1].exists()


def test_records_after_the_end_are_not_sent(mailbox, outbox, caplog):
    outbox.close(60)
    with caplog.at_level(logging.WARNING):
        outbox.put(record(1))
    assert mailbox.received == []
    assert "after the end" in caplog.text
