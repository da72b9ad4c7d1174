"""Similarity of codes: geometry by hand, tables from counted pairs."""

import numpy as np
import pytest
import torch

from samtok import SAMTok
from samtok.errors import CheckpointError
from samtok.rewards import CodebookSimilarity, ExpectedIou
from samtok.rewards.similarity import ExpectedIouTally

# Book 0 on the x axis at 0 and 4, book 1 on the y axis at 0 and 2: variances 4 and 1, so two
# random codes are sqrt(10) apart.
BOOKS = np.array([[[0.0, 0.0], [4.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]], dtype=np.float32)
EVEN = np.ones((2, 2), dtype=np.float32)


def pair(a, b):
    return np.array([[a, b]], dtype=np.int64)


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ((0, 0), (0, 0), 1),
        ((0, 0), (0, 1), 1 - 4 / 10),
        ((0, 0), (1, 0), 0),  # 16 of 10 away
        ((1, -1), (1, 0), 1),  # a missing code adds nothing, nor does row 0
        ((1, -1), (1, 1), 1 - 4 / 10),
        ((200, 0), (0, 0), 0),  # no such row
        ((200, 0), (200, 0), 0),
    ],
)
def test_codes_are_as_alike_as_their_vectors_are_near(first, second, value):
    similarity = CodebookSimilarity(BOOKS, EVEN)
    assert similarity(pair(*first), pair(*second)) == pytest.approx(np.array([[value]]))


def test_a_tokenizer_gives_its_books(small_tokenizer_folder):
    tokenizer = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")
    rows, usage = tokenizer.copy_codebooks()
    vectors = tokenizer.network.quantizer.look_up(torch.tensor([[3, 5], [3, -1]])).numpy()
    assert rows[0, 3] + rows[1, 5] == pytest.approx(vectors[0])
    assert rows[0, 3] == pytest.approx(vectors[1])
    assert usage.shape == rows.shape[:2] == (2, tokenizer.config.codebook_size)


def test_unused_codes_do_not_widen_the_scale():
    far = BOOKS.copy()
    far[0, 1] = 1000
    used = np.array([[1, 0], [1, 1]], dtype=np.float32)
    similarity = CodebookSimilarity(far, used)
    # Only book 1 varies: 2 · 1 = 2 expected, 4 away.
    assert similarity(pair(0, 0), pair(0, 1)) == 0
    assert similarity(pair(0, 0), pair(0, 0)) == 1


def test_random_codes_are_expected_to_be_as_far_apart_as_the_scale_says():
    rng = np.random.default_rng(0)
    books = rng.normal(size=(2, 16, 4)).astype(np.float32)
    a, b = rng.integers(0, 16, (2, 20_000, 2))
    vectors = [books[0, codes[:, 0]] + books[1, codes[:, 1]] for codes in (a, b)]
    distances = ((vectors[0] - vectors[1]) ** 2).sum(axis=1)
    similarity = CodebookSimilarity(books, np.ones((2, 16)))
    found = np.diagonal(similarity(a[:50], b[:50]))
    assert (found > 0).sum() > 10
    assert found == pytest.approx(np.maximum(0, 1 - distances[:50] / distances.mean()), abs=0.03)


def test_all_pairs_are_compared():
    similarity = CodebookSimilarity(BOOKS, EVEN)
    predicted, true = np.array([[0, 0], [1, 1], [0, 1]]), np.array([[0, 0], [0, 1]])
    assert similarity(predicted, true) == pytest.approx(np.array([[1, 0.6], [0, 0], [0.6, 1]]))


def test_expected_iou_is_the_mean_over_pairs_seen():
    tally = ExpectedIouTally(shrinkage=1e-9)
    codes = np.array([[1, 0], [1, 5], [2, 0]])
    tally.add(codes, np.array([[1, 0.9, 0.2], [0.9, 1, 0.4], [0.2, 0.4, 1]]))
    table = tally.estimate("f").table
    assert table[1, 2] == table[2, 1] == pytest.approx(0.3)
    assert table[1, 1] == pytest.approx(0.9)
    assert tally.num_cells_seen == 3


def test_cells_seldom_seen_are_drawn_to_the_mean_of_their_kind():
    tally = ExpectedIouTally(shrinkage=1)
    tally.add(np.array([[1, 0], [2, 0]]), np.array([[1, 0.2], [0.2, 1]]))
    tally.add(np.array([[3, 0], [4, 0]]), np.array([[1, 0.6], [0.6, 1]]))
    tally.add(np.array([[5, 0], [5, 1]]), np.array([[1, 0.8], [0.8, 1]]))
    table = tally.estimate("f").table
    assert table[1, 2] == pytest.approx((0.2 + 0.4) / 2)
    assert table[7, 8] == pytest.approx(0.4)
    assert table[5, 5] == table[9, 9] == pytest.approx(0.8)


def test_equal_pairs_say_nothing_about_others():
    tally = ExpectedIouTally()
    tally.add(np.array([[1, 0], [1, 0]]), np.ones((2, 2)))
    assert tally.num_cells_seen == 0


def test_tallies_add_up():
    rng = np.random.default_rng(0)
    whole, parts = ExpectedIouTally(), ExpectedIouTally()
    for _ in range(3):
        part = ExpectedIouTally()
        codes, ious = rng.integers(0, 4, (6, 2)), rng.random((6, 6))
        for tally in (whole, part):
            tally.add(codes, (ious + ious.T) / 2)
        parts.add_cells(*part.cells())
    assert parts.num_cells_seen == whole.num_cells_seen > 4
    assert parts.estimate("f").table == pytest.approx(whole.estimate("f").table)


def test_the_table_is_looked_up_by_first_words():
    table = np.zeros((256, 256), dtype=np.float32)
    table[1, 2] = table[2, 1] = 0.25
    table[1, 1] = 0.75
    iou = ExpectedIou(table=table, fingerprint="f")
    predicted = np.array([[1, 0], [1, -1], [2, 9]])
    assert iou(predicted, np.array([[1, 0]])).ravel() == pytest.approx([1, 0.75, 0.25])


def test_a_table_lies_beside_its_tokenizer_alone(tmp_path):
    table = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    content = ExpectedIou(table=table, fingerprint="abc").to_bytes()
    (tmp_path / "expected_iou.safetensors").write_bytes(content)
    loaded = ExpectedIou.load(tmp_path, fingerprint="abc")
    assert np.array_equal(loaded.table, table)
    with pytest.raises(CheckpointError, match="anew"):
        ExpectedIou.load(tmp_path, fingerprint="other")
    with pytest.raises(CheckpointError, match=r"evaluate_tokenizer\.py --expected-iou"):
        ExpectedIou.load(tmp_path / "none", fingerprint="abc")
    (tmp_path / "expected_iou.safetensors").write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=r"evaluate_tokenizer\.py --expected-iou"):
        ExpectedIou.load(tmp_path, fingerprint="abc")
