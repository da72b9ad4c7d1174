"""Codebook usage and collisions, by hand."""

import numpy as np
import pytest

from samtok.metrics.codebook import (
    code_histogram,
    codebook_usage,
    count_collisions,
    usage_from_histogram,
)

CODES = np.array([[0, 7], [0, 8], [5, 9], [5, 10]])


def test_evenly_used_codes_have_a_perplexity_of_their_number():
    usage = codebook_usage(CODES)
    assert usage.codes_in_use == (2, 4)
    assert usage.perplexity == pytest.approx((2, 4))


def test_a_rare_code_adds_little_perplexity():
    # Shares 3/4 and 1/4: exp(-(3/4 ln 3/4 + 1/4 ln 1/4)) = 4 / 3^(3/4).
    usage = codebook_usage(np.array([[1, 0], [1, 0], [1, 0], [2, 0]]))
    assert usage.perplexity == pytest.approx((4 / 3**0.75, 1))
    assert usage.codes_in_use == (2, 1)


def test_histograms_of_parts_add_up_to_that_of_the_whole():
    codes = np.random.default_rng(0).integers(0, 256, (1000, 2))
    parts = code_histogram(codes[:300]) + code_histogram(codes[300:])
    assert parts.shape == (2, 256)
    assert parts.dtype == np.int64
    assert usage_from_histogram(parts) == codebook_usage(codes)


def test_missing_second_codes_are_not_counted():
    histogram = code_histogram(np.array([[3, -1], [3, 255]], dtype=np.int16))
    assert histogram[0, 3] == 2
    assert histogram.sum(axis=1).tolist() == [2, 1]


def test_a_book_without_codes_has_no_perplexity():
    usage = codebook_usage(np.zeros((0, 2), dtype=np.int64))
    assert usage.codes_in_use == (0, 0)
    assert usage.perplexity == (0, 0)


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_codes_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected"):
        code_histogram(np.zeros(shape, dtype=np.int64))


def test_masks_with_both_words_alike_collide():
    codes = np.array([[1, 2], [1, 3], [1, 2], [2, 1], [1, 2]])
    assert count_collisions(codes).tolist() == [True, False, True, False, True]


def test_no_masks_do_not_collide():
    assert count_collisions(np.zeros((0, 2), dtype=np.int64)).shape == (0,)
