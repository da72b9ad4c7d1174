"""Exactly-once bookkeeping, without a cluster."""

import json

import numpy as np
import pyarrow as pa
import pytest

from pipelines import columns
from pipelines.corpus.commits import Figures, Ledger, add_figures
from pipelines.corpus.word_rows import build_words_block
from pipelines.storage import Place
from samtok.masks import encode_rle


def tokenized(image_id, codes, quarantined=()):
    """A tokenized image with one 2 x 3 mask per pair of codes."""
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 2:5] = True
    return {
        "image_id": image_id,
        "image_uri": f"file:{image_id}",
        "height": 5,
        "width": 7,
        "source": "test",
        "masks": [
            {"mask_id": str(i), "category": "thing", "rle": encode_rle(mask)}
            for i in range(len(codes))
        ],
        "codes": [list(pair) for pair in codes],
        "reconstruction_iou": [0.5] * len(codes),
        "was_embedded": bool(codes),
        "is_rejected": not codes and bool(quarantined),
        "quarantined": [
            {
                "source": "test",
                "image_id": image_id,
                "mask_id": mask_id,
                "stage": "decode",
                "reason": reason,
                "detail": "",
            }
            for mask_id, reason in quarantined
        ],
    }


@pytest.fixture
def output(tmp_path):
    return Place.at(tmp_path / "out")


def write_block(output, images):
    table = pa.Table.from_pylist(images, schema=columns.TOKENIZED)
    return Ledger(output=output, folder="words").write_block(build_words_block(table))


def reconcile(output):
    return Ledger(output=output, folder="words").reconcile()


def files(output):
    return [
        file for folder in ("words", "quarantine", "_commits") for file in output.list_files(folder)
    ]


def test_figures_add_up(output):
    one = write_block(output, [tokenized("a", [(1, 2), (1, 2), (3, 4)], [("9", "mask_empty")])])
    two = write_block(output, [tokenized("b", [(1, 5)]), tokenized("c", [], [(None, "gone")])])
    total = add_figures([one, two])
    assert (total.num_images, total.num_masks, total.num_embedded) == (3, 4, 2)
    assert total.num_rejected_images == 1
    assert total.num_collisions == 2
    assert total.quarantined == {"gone": 1, "mask_empty": 1}
    assert total.num_quarantined_masks == 1
    assert total.code_histogram[0][1] == 3
    assert total.code_histogram[1][2] == 2
    assert total.iou_sum == {"small": 2.0}
    assert total.iou_count == {"small": 4}
    assert add_figures([]) == Figures()


def test_a_block_written_twice_is_there_once(output):
    block = [tokenized("a", [(1, 2)]), tokenized("b", [(3, 4)])]
    write_block(output, block)
    before = files(output)
    write_block(output, block[::-1])
    assert files(output) == before
    assert sum(c.figures.num_masks for c in reconcile(output)) == 2


def test_files_without_a_commit_are_removed(output):
    commit = write_block(output, [tokenized("a", [(1, 2)], [("7", "mask_empty")])])
    kept = files(output)
    dead = write_block(output, [tokenized("b", [(3, 4)], [("8", "mask_empty")])])
    output.delete(dead.file)  # killed between the data and the commit
    output.write_bytes("quarantine/index-000000.parquet", b"listed while indexing")
    assert [c.name for c in reconcile(output)] == [commit.name]
    assert files(output) == sorted([*kept, "quarantine/index-000000.parquet"], key=files_order)


def files_order(name):
    return (["words", "quarantine", "_commits"].index(name.split("/")[0]), name)


def test_overlapping_commits_leave_each_image_once(output):
    """A retried block that was cut differently: one of the two is dropped, whichever it is."""
    write_block(output, [tokenized("a", [(1, 2)]), tokenized("b", [(3, 4)])])
    write_block(output, [tokenized("b", [(3, 4)]), tokenized("c", [(5, 6)])])
    kept = reconcile(output)
    assert len(kept) == 1
    assert len(output.list_files("words")) == len(output.list_files("_commits")) == 1


def test_a_damaged_commit_does_not_count(output):
    commit = write_block(output, [tokenized("a", [(1, 2)])])
    output.write_bytes(commit.file, json.dumps({"name": "half"})[:-3].encode())
    assert reconcile(output) == []
    assert files(output) == []


@pytest.mark.parametrize("folder", ["words", "quarantine"])
def test_a_commit_whose_files_are_gone_does_not_count(output, folder):
    """A writer that outlived its driver commits after the next run cleaned up."""
    commit = write_block(output, [tokenized("a", [(1, 2)], [("7", "mask_empty")])])
    output.delete(f"{folder}/{commit.name}.parquet")
    assert reconcile(output) == []
    assert files(output) == []


def test_a_block_without_rows_counts(output):
    commit = write_block(output, [tokenized("a", [])])
    assert commit.data_files == []
    assert reconcile(output) == [commit]
