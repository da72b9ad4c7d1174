"""Exactly-once output: data files first, then a commit record that names them.

A file that no commit names does not count and is deleted by the next run; nor does a commit count
whose files are gone. File names are a hash of the block's image ids, so a block that Ray runs twice
overwrites itself. Should two commits ever share an image (a retried block cut differently), all but
one of them are dropped and the images left uncovered are done again.

Ray Data's own checkpointing is not used: it follows one file sink of rows with unique ids, and for
any other sink records a block only after it was written, so that a kill between the two repeats
rows. This sink turns an image into rows of two tables, and counts figures on the way.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines import columns
from pipelines.corpus.index import INDEX_QUARANTINE_PREFIX, QUARANTINE_FOLDER
from pipelines.storage import Place

COMMITS_FOLDER: Final = "_commits"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Sums over images and masks, which add up across blocks and runs.

    What a job does not count stays 0.
    """

    num_images: int = 0
    """Images dealt with, rejected ones included."""
    num_rejected_images: int = 0
    num_masks: int = 0
    """Masks that came out."""
    num_texts: int = 0
    """Texts that came out; of dialogues, those that conversations were made of."""
    num_undrawn_texts: int = 0
    """Good texts that the mixture of tasks made no conversation of."""
    num_quarantined_texts: int = 0
    """Texts among the quarantined rows."""
    num_conversations: dict[str, int] = field(default_factory=dict)
    """By task."""
    num_bytes: int = 0
    """Of carried images, or of embedding maps."""
    num_embedded: int = 0
    """Backbone passes."""
    num_collisions: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    """Rows by reason."""
    num_quarantined_masks: int = 0
    """Masks among those rows."""
    code_histogram: list[list[int]] = field(default_factory=list)
    """How often each code of each book was given; 2 x 256."""
    iou_sum: dict[str, float] = field(default_factory=dict)
    """Sum of reconstruction IoU by area bin."""
    iou_count: dict[str, int] = field(default_factory=dict)
    """Masks with a reconstruction IoU by area bin."""

    @property
    def num_items(self) -> int:
        """What progress counts: conversations where there are any, else masks."""
        return sum(self.num_conversations.values()) or self.num_masks

    def __add__(self, other: Figures) -> Figures:
        histograms = [np.array(h) for h in (self.code_histogram, other.code_histogram) if h]
        return Figures(
            num_images=self.num_images + other.num_images,
            num_rejected_images=self.num_rejected_images + other.num_rejected_images,
            num_masks=self.num_masks + other.num_masks,
            num_texts=self.num_texts + other.num_texts,
            num_undrawn_texts=self.num_undrawn_texts + other.num_undrawn_texts,
            num_quarantined_texts=self.num_quarantined_texts + other.num_quarantined_texts,
            num_conversations=_add(self.num_conversations, other.num_conversations),
            num_bytes=self.num_bytes + other.num_bytes,
            num_embedded=self.num_embedded + other.num_embedded,
            num_collisions=self.num_collisions + other.num_collisions,
            quarantined=_add(self.quarantined, other.quarantined),
            num_quarantined_masks=self.num_quarantined_masks + other.num_quarantined_masks,
            code_histogram=sum(histograms).tolist() if histograms else [],  # type: ignore[union-attr]
            iou_sum=_add(self.iou_sum, other.iou_sum),
            iou_count=_add(self.iou_count, other.iou_count),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Some finished images, ready to be written."""

    image_ids: list[str]
    """All of them, those that give no row included."""
    table: pa.Table
    """Rows of the output; a table without rows is not written."""
    quarantined: list[dict[str, Any]]
    """Rows of `columns.QUARANTINE`."""
    figures: Figures
    """Without what :func:`count_quarantined` gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One finished block."""

    name: str
    """Hash of its image ids; stem of its files."""
    image_ids: list[str]
    data_files: list[str]
    """What it vouches for."""
    figures: Figures

    @property
    def file(self) -> str:
        """The record itself."""
        return f"{COMMITS_FOLDER}/{self.name}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The books of one output: writes blocks, and knows which of them count."""

    output: Place
    folder: str
    """Where the rows go, below `output`; quarantine and commits lie beside it."""
    compression: str = "zstd"
    """Of the rows' columns."""
    bytes_per_group: int | None = None
    """About how much a row group holds, for rows of large values; see Place.write_parquet."""

    def write_block(self, block: Block) -> Commit:
        """Write rows and quarantine of a block and then its commit record, which is returned."""
        name = hashlib.sha256("\n".join(sorted(block.image_ids)).encode()).hexdigest()[:24]
        data_files = []
        if block.table.num_rows:
            data_files.append(f"{self.folder}/{name}.parquet")
            self.output.write_parquet(
                data_files[-1],
                block.table,
                compression=self.compression,
                bytes_per_group=self.bytes_per_group,
            )
        if block.quarantined:
            data_files.append(f"{QUARANTINE_FOLDER}/{name}.parquet")
            table = pa.Table.from_pylist(block.quarantined, schema=columns.QUARANTINE)
            self.output.write_parquet(data_files[-1], table)
        commit = Commit(
            name=name,
            image_ids=block.image_ids,
            data_files=data_files,
            figures=block.figures + count_quarantined(block.quarantined),
        )
        self.output.write_bytes(commit.file, json.dumps(asdict(commit)).encode())
        return commit

    def reconcile(self) -> list[Commit]:
        """Make the output hold just what its commits say, each image once.

        Returns:
            The commits that count.
        """
        kept = self.read_commits()
        names = {commit.name for commit in kept}
        for file in self.output.list_files(COMMITS_FOLDER):
            if _stem(file) not in names:
                self.output.delete(file)
        for file in self._list_data():
            if _stem(file) not in names and not _stem(file).startswith(INDEX_QUARANTINE_PREFIX):
                self.output.delete(file)
        return kept

    def read_commits(self) -> list[Commit]:
        """Commits whose files are there and that share no image, by name; changes nothing.

        Files can be gone: a writer that outlives its killed driver may commit just after the next
        run removed what nobody had committed.
        """
        kept: list[Commit] = []
        covered: set[str] = set()
        commit_files = self.output.list_files(COMMITS_FOLDER)
        data = set(self._list_data())
        for file in commit_files:
            commit = _read_commit(self.output, file)
            if commit is None or not data.issuperset(commit.data_files):
                continue
            if not covered & set(commit.image_ids):
                covered |= set(commit.image_ids)
                kept.append(commit)
        return kept

    def data_files(self, commits: Iterable[Commit]) -> list[str]:
        """Files of rows that `commits` vouch for."""
        prefix = f"{self.folder}/"
        return [f for commit in commits for f in commit.data_files if f.startswith(prefix)]

    def _list_data(self) -> list[str]:
        return [
            file
            for folder in (self.folder, QUARANTINE_FOLDER)
            for file in self.output.list_files(folder)
        ]


def count_quarantined(rows: list[dict[str, Any]]) -> Figures:
    """The figures of quarantined rows."""
    return Figures(
        quarantined=dict(Counter(row["reason"] for row in rows)),
        num_quarantined_masks=sum(row["mask_id"] is not None for row in rows),
    )


def add_figures(commits: Iterable[Commit]) -> Figures:
    """Figures of all commits together."""
    return sum((commit.figures for commit in commits), Figures())


def _read_commit(output: Place, file: str) -> Commit | None:
    try:
        content = json.loads(output.read_bytes(file))
        return Commit(**{**content, "figures": Figures(**content["figures"])})
    except (ValueError, TypeError, KeyError):
        return None  # cut short by a crash of the machine itself


def _stem(file: str) -> str:
    return file.rpartition("/")[2].rpartition(".")[0]


def _add(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}
