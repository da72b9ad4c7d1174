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
from samtok.masks import rle_area, rle_box
from samtok.metrics.codebook import code_histogram, count_collisions
from samtok.metrics.segmentation import area_bin
from samtok.words import format_codes

WORDS_FOLDER: Final = "words"
COMMITS_FOLDER: Final = "_commits"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Sums over masks, which add up across blocks and runs."""

    num_images: int = 0
    num_masks: int = 0
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

    def __add__(self, other: Figures) -> Figures:
        histograms = [np.array(h) for h in (self.code_histogram, other.code_histogram) if h]
        return Figures(
            num_images=self.num_images + other.num_images,
            num_masks=self.num_masks + other.num_masks,
            num_embedded=self.num_embedded + other.num_embedded,
            num_collisions=self.num_collisions + other.num_collisions,
            quarantined=_add(self.quarantined, other.quarantined),
            num_quarantined_masks=self.num_quarantined_masks + other.num_quarantined_masks,
            code_histogram=sum(histograms).tolist() if histograms else [],  # type: ignore[union-attr]
            iou_sum=_add(self.iou_sum, other.iou_sum),
            iou_count=_add(self.iou_count, other.iou_count),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One finished block."""

    name: str
    """Hash of its image ids; stem of its files."""
    image_ids: list[str]
    num_masks: int
    figures: Figures

    @property
    def file(self) -> str:
        """The record itself."""
        return f"{COMMITS_FOLDER}/{self.name}.json"

    @property
    def data_files(self) -> list[str]:
        """What it vouches for; a table without rows is not written."""
        has_rows = {WORDS_FOLDER: self.num_masks, QUARANTINE_FOLDER: self.figures.quarantined}
        return [f"{folder}/{self.name}.parquet" for folder, rows in has_rows.items() if rows]


def write_block(output: Place, images: list[dict[str, Any]]) -> Commit:
    """Write a block of images (rows of `columns.TOKENIZED`); returns its commit record.

    Nothing is written where a table would be empty, except the record.
    """
    image_ids = [image["image_id"] for image in images]
    name = hashlib.sha256("\n".join(sorted(image_ids)).encode()).hexdigest()[:24]
    words = [row for image in images for row in mask_rows(image)]
    quarantined = [row for image in images for row in image["quarantined"]]
    if words:
        table = pa.Table.from_pylist(words, schema=columns.MASK_WORDS)
        output.write_parquet(f"{WORDS_FOLDER}/{name}.parquet", table)
    if quarantined:
        table = pa.Table.from_pylist(quarantined, schema=columns.QUARANTINE)
        output.write_parquet(f"{QUARANTINE_FOLDER}/{name}.parquet", table)
    figures = _measure(images, words, quarantined)
    commit = Commit(name=name, image_ids=image_ids, num_masks=len(words), figures=figures)
    output.write_bytes(commit.file, json.dumps(asdict(commit)).encode())
    return commit


def mask_rows(image: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of `columns.MASK_WORDS` of one tokenized image."""
    codes = np.array(image["codes"], dtype=np.int64).reshape(-1, 2)
    iou = image["reconstruction_iou"] or [None] * len(codes)
    shared = {key: image[key] for key in ("image_id", "image_uri", "height", "width", "source")}
    return [
        {
            **shared,
            "mask_id": mask["mask_id"],
            "category": mask["category"],
            "rle": mask["rle"],
            "bbox": rle_box(mask["rle"]).tolist(),
            "area": rle_area(mask["rle"]),
            "codes": pair.tolist(),
            "words": words,
            "reconstruction_iou": value,
            "collides": bool(collides),
        }
        for mask, pair, words, value, collides in zip(
            image["masks"], codes, format_codes(codes), iou, count_collisions(codes), strict=True
        )
    ]


def reconcile(output: Place) -> list[Commit]:
    """Make the output hold just what its commits say, each image once.

    Returns:
        The commits that count.
    """
    kept = read_commits(output)
    names = {commit.name for commit in kept}
    for file in output.list_files(COMMITS_FOLDER):
        if _stem(file) not in names:
            output.delete(file)
    for folder in (WORDS_FOLDER, QUARANTINE_FOLDER):
        for file in output.list_files(folder):
            if _stem(file) not in names and not _stem(file).startswith(INDEX_QUARANTINE_PREFIX):
                output.delete(file)
    return kept


def read_commits(output: Place) -> list[Commit]:
    """Commits whose files are there and that share no image, by name; changes nothing.

    Files can be gone: a writer that outlives its killed driver may commit just after the next run
    removed what nobody had committed.
    """
    kept: list[Commit] = []
    covered: set[str] = set()
    commit_files = output.list_files(COMMITS_FOLDER)
    data = {f for folder in (WORDS_FOLDER, QUARANTINE_FOLDER) for f in output.list_files(folder)}
    for file in commit_files:
        commit = _read_commit(output, file)
        if commit is None or not data.issuperset(commit.data_files):
            continue
        if not covered & set(commit.image_ids):
            covered |= set(commit.image_ids)
            kept.append(commit)
    return kept


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


def _measure(
    images: list[dict[str, Any]], words: list[dict[str, Any]], quarantined: list[dict[str, Any]]
) -> Figures:
    iou_sum: Counter[str] = Counter()
    iou_count: Counter[str] = Counter()
    for row in words:
        if row["reconstruction_iou"] is not None:
            iou_sum[area_bin(row["area"])] += row["reconstruction_iou"]
            iou_count[area_bin(row["area"])] += 1
    codes = np.array([row["codes"] for row in words], dtype=np.int64).reshape(-1, 2)
    return Figures(
        num_images=len(images),
        num_masks=len(words),
        num_embedded=sum(image["was_embedded"] for image in images),
        num_collisions=sum(row["collides"] for row in words),
        quarantined=dict(Counter(row["reason"] for row in quarantined)),
        num_quarantined_masks=sum(row["mask_id"] is not None for row in quarantined),
        code_histogram=code_histogram(codes).tolist(),
        iou_sum=dict(iou_sum),
        iou_count=dict(iou_count),
    )


def _add(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}
