"""Run-length codes against pycocotools on good input, and against nothing but us on bad."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from samtok.errors import InputError
from samtok.masks import decode_rle, decode_rles, encode_rle, rle_area, rle_box

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20))
# 3 by 2: the middle row and the last pixel; by columns 0 1 0 | 0 1 1.
HAND_MASK = np.array([[0, 0], [1, 1], [0, 1]], dtype=bool)
HAND_RLE = {"size": [3, 2], "counts": [1, 1, 2, 2]}


def reason_of(rle):
    with pytest.raises(InputError) as caught:
        decode_rle(rle)
    return caught.value.reason


@given(MASKS)
def test_codes_equal_those_of_pycocotools_and_decode_to_the_mask(mask):
    rle = encode_rle(mask)
    theirs = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert rle == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    assert np.array_equal(decode_rle(rle), mask)


def test_long_and_shrinking_runs_survive_packing():
    # Counts of several characters, and negative differences to the count two places before.
    mask = np.zeros((2000, 1500), dtype=bool)
    mask[:, 3:700] = True
    mask[1999, 1400] = mask[5, 1499] = True
    rle = encode_rle(mask)
    assert np.array_equal(decode_rle(rle), mask)
    assert np.array_equal(coco.decode(rle), mask)


@pytest.mark.parametrize("form", [list, tuple, np.array])
def test_a_list_of_counts_is_decoded_by_columns(form):
    assert np.array_equal(decode_rle(HAND_RLE | {"counts": form(HAND_RLE["counts"])}), HAND_MASK)


def test_counts_may_be_bytes_or_text():
    rle = encode_rle(HAND_MASK)
    assert np.array_equal(decode_rle(rle | {"counts": rle["counts"].encode()}), HAND_MASK)


def test_runs_of_length_zero_are_fine():
    assert np.array_equal(decode_rle({"size": [3, 2], "counts": [1, 1, 2, 1, 0, 1]}), HAND_MASK)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([1, 1, 2, 1], "rle_counts_sum"),
        ([1, 1, 2, 3], "rle_counts_sum"),
        ([], "rle_counts_sum"),
        ("", "rle_counts_sum"),
        ([2**62, 2**62, 2**62, 2**62, 6], "rle_counts_sum"),
        ([7, -1], "rle_counts_malformed"),
        ([1.0, 5], "rle_counts_malformed"),
        ([True, 5], "rle_counts_malformed"),
        ([None, 6], "rle_counts_malformed"),
        (["1", "5"], "rle_counts_malformed"),
        ([[1, 5]], "rle_counts_malformed"),
        ([2**70, 6], "rle_counts_malformed"),
        (np.array([1.0, 5.0]), "rle_counts_malformed"),
        ([0] * 8, "rle_counts_malformed"),
        ("0" * 100, "rle_counts_malformed"),
        ("1 5", "rle_counts_malformed"),
        ("1\u00e9", "rle_counts_malformed"),
        ("1p", "rle_counts_malformed"),
        (b"\xff\x00", "rle_counts_malformed"),
        ("1P", "rle_counts_malformed"),
        ("PPPPPPPPPPPP0", "rle_counts_malformed"),
        ("O7", "rle_counts_malformed"),
        (6, "segmentation_malformed"),
        (None, "segmentation_malformed"),
    ],
)
def test_bad_counts_are_refused_by_name(counts, reason):
    assert reason_of({"size": [3, 2], "counts": counts}) == reason


@pytest.mark.parametrize(
    "size", [None, [3], [3, 2, 1], [3.0, 2.0], [0, 6], [-3, -2], "32", ["3", "2"]]
)
def test_a_size_that_is_no_size_is_refused(size):
    assert reason_of({"size": size, "counts": [1, 1, 2, 2]}) == "segmentation_malformed"


def test_a_missing_key_is_refused():
    assert reason_of({"counts": [6]}) == "segmentation_malformed"
    assert reason_of({"size": [3, 2]}) == "segmentation_malformed"


def test_an_image_too_large_is_refused_before_anything_is_allocated():
    assert reason_of({"size": [100_000, 100_000], "counts": [10**10]}) == "image_too_large"


def test_every_cut_of_a_string_is_refused():
    mask = np.random.default_rng(0).random((30, 40)) < 0.3
    counts = encode_rle(mask)["counts"]
    for length in range(len(counts)):
        assert reason_of({"size": [30, 40], "counts": counts[:length]}) in (
            "rle_counts_sum",
            "rle_counts_malformed",
        )


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_string_gives_a_mask_or_an_input_error(counts):
    rle = {"size": [3, 2], "counts": counts}
    try:
        mask = decode_rle(rle)
    except InputError:
        return
    # What we accept must mean the same to pycocotools.
    assert np.array_equal(coco.decode(rle), mask)


@given(MASKS)
def test_area_and_box_are_read_from_the_runs(mask):
    rle = encode_rle(mask)
    assert rle_area(rle) == mask.sum()
    if not mask.any():
        with pytest.raises(InputError, match="mask_empty"):
            rle_box(rle)
        return
    rows, columns = np.nonzero(mask)
    box = rle_box(rle)
    assert box.dtype == np.float32
    assert box.tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]


def test_several_rles_become_one_array_and_none_an_empty_one():
    rle = encode_rle(HAND_MASK)
    assert np.array_equal(decode_rles([rle, HAND_RLE], 3, 2), np.stack([HAND_MASK, HAND_MASK]))
    assert decode_rles([], 3, 2).shape == (0, 3, 2)


def test_an_rle_of_another_size_is_refused_by_index():
    transposed = encode_rle(HAND_MASK.T)
    with pytest.raises(InputError, match="mask 1") as caught:
        decode_rles([HAND_RLE, transposed], 3, 2)
    assert caught.value.reason == "rle_size_mismatch"


def test_a_stack_is_not_a_mask():
    with pytest.raises(ValueError, match="expected \\(H, W\\)"):
        encode_rle(np.zeros((1, 3, 2), dtype=bool))
