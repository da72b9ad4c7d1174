"""Corpora by position: the right rows, and no more reading than it takes."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.ingest import build_corpus_block, encode_png
from pipelines.row_groups import read_row_groups
from pipelines.training import parquet_rows
from pipelines.training.corpora import open_training_corpus
from pipelines.training.plan import Mixture, plan_windows
from samtok.masks import encode_rle

ROWS_PER_FILE, ROWS_PER_GROUP = 20, 5


def row_of_height(height):
    mask = {"mask_id": "1", "category": "", "is_crowd": False}
    return {
        "image_id": str(height),
        "image_uri": "",
        "height": height,
        "width": 4,
        "source": "made",
        "image": encode_png(np.zeros((height, 4, 3), np.uint8)),
        "masks": [{**mask, "rle": encode_rle(np.ones((height, 4), bool))}],
        "texts": [],
        "num_quarantined_texts": 0,
        "is_rejected": False,
        "quarantined": [],
    }


def write_corpus(folder, rows):
    (folder / "corpus").mkdir()
    files = []
    for start in range(0, len(rows), ROWS_PER_FILE):
        table = build_corpus_block(rows[start : start + ROWS_PER_FILE]).table
        files.append(f"corpus/{start}.parquet")
        pq.write_table(table, folder / files[-1], row_group_size=ROWS_PER_GROUP)
    num_masks = sum(len(row["masks"]) for row in rows)
    counts = {"figures": {"num_masks": num_masks}}
    manifest = {"stage": "ingest_corpus", "files": files, "counts": counts}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    return open_training_corpus(str(folder))


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path, [row_of_height(height) for height in range(1, 101)])


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 100), (3, 4), (4, 6), (5, 10), (17, 43), (99, 100)]
)
def test_any_run_of_rows_can_be_read(corpus, start, stop):
    images = list(corpus.read(start, stop))
    assert [image.height for image in images] == list(range(start + 1, stop + 1))
    assert all(image.pixels.shape == (image.height, 4, 3) for image in images)


def test_an_epoch_reads_each_row_group_once(corpus, monkeypatch):
    groups, heights = Counter(), Counter()

    def count(place, members, columns):
        groups.update(members)
        return read_row_groups(place, members, columns)

    monkeypatch.setattr(parquet_rows, "read_row_groups", count)
    plan = Mixture(
        starts=(corpus.starts,),
        weights=(1.0,),
        num_lanes=1,
        images_per_window=4 * ROWS_PER_GROUP,
        images_per_unit=7,  # room for one group and not for two
    )
    for window in islice(plan_windows(plan, 0), 5):
        for run in window.runs:
            heights.update(image.height for image in corpus.read(run.start, run.stop))
    assert heights == Counter(range(1, 101))
    assert len(groups) == 20
    assert set(groups.values()) == {1}
