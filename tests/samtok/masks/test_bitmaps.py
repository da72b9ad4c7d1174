"""Masks as arrays: every usual spelling of two values is read, anything else is named."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from samtok.errors import InputError
from samtok.masks import (
    as_mask_array,
    bitmap_to_mask,
    encode_rle,
    label_map_to_masks,
    masks_to_label_map,
)

MASK = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)


@pytest.mark.parametrize(
    "bitmap",
    [
        MASK,
        MASK.astype(np.uint8),
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.int64),
        MASK[:, :, None],
        MASK[:, :, None].astype(np.uint8) * 255,
    ],
    ids=["bool", "0 and 1", "0 and 255", "int64", "bool with channel", "255 with channel"],
)
def test_two_valued_pictures_are_masks(bitmap):
    mask = bitmap_to_mask(bitmap)
    assert mask.dtype == bool
    assert np.array_equal(mask, MASK)


def test_an_all_black_picture_is_an_empty_mask():
    assert not bitmap_to_mask(np.zeros((2, 3), dtype=np.uint8)).any()


@pytest.mark.parametrize(
    "bitmap",
    [
        np.array([[0, 1, 255]], dtype=np.uint8),
        np.array([[0, 128]], dtype=np.uint8),
        np.array([[0, -1]]),
        MASK.astype(np.float32),
        np.zeros((2, 3, 3), dtype=np.uint8),
        np.zeros(3, dtype=bool),
        np.zeros((0, 3), dtype=bool),
    ],
    ids=["three values", "grey", "negative", "float", "colour", "flat", "no pixels"],
)
def test_other_pictures_are_refused(bitmap):
    with pytest.raises(InputError) as caught:
        bitmap_to_mask(bitmap)
    assert caught.value.reason == "bitmap_malformed"


def test_a_label_map_gives_a_mask_for_each_object():
    label_map = np.array([[0, 3, 3], [255, 7, 3]], dtype=np.uint8)
    masks = label_map_to_masks(label_map)
    assert list(masks) == [3, 7]
    assert masks[3].tolist() == [[False, True, True], [False, False, True]]
    assert masks[7].sum() == 1


def test_what_is_no_object_can_be_said():
    label_map = np.array([[0, 255]], dtype=np.uint8)
    assert list(label_map_to_masks(label_map, ignore=())) == [0, 255]


@pytest.mark.parametrize("label_map", [np.zeros((2, 2)), np.zeros((2, 2, 3), dtype=np.uint8)])
def test_a_map_without_labels_is_refused(label_map):
    with pytest.raises(InputError, match="label_map_malformed"):
        label_map_to_masks(label_map)


def test_masks_and_label_maps_are_inverse():
    masks = np.array([MASK, ~MASK])
    label_map = masks_to_label_map(masks)
    assert label_map.tolist() == [[2, 1, 1], [2, 2, 1]]
    assert np.array_equal(np.stack(list(label_map_to_masks(label_map).values())), masks)


def test_overlapping_masks_do_not_fit_a_label_map():
    with pytest.raises(InputError, match="mask 1") as caught:
        masks_to_label_map(np.array([MASK, MASK]))
    assert caught.value.reason == "masks_overlap"


@pytest.mark.parametrize(
    "masks",
    [
        np.stack([MASK, ~MASK]),
        np.stack([MASK, ~MASK]).astype(np.uint8),
        np.stack([MASK, ~MASK]).astype(np.uint8) * 255,
        [MASK, ~MASK],
        torch.from_numpy(np.stack([MASK, ~MASK])),
        [encode_rle(MASK), encode_rle(~MASK)],
        (encode_rle(MASK), {"size": [2, 3], "counts": [0, 2, 1, 1, 2]}),
    ],
    ids=["bool", "0 and 1", "0 and 255", "list", "tensor", "RLE", "tuple of RLE forms"],
)
def test_all_forms_of_masks_become_one_array(masks):
    array = as_mask_array(masks, 2, 3)
    assert array.dtype == bool
    assert np.array_equal(array, np.stack([MASK, ~MASK]))


@pytest.mark.parametrize("masks", [[], (), np.zeros((0, 2, 3), dtype=bool)])
def test_no_masks_are_an_empty_array(masks):
    assert as_mask_array(masks, 2, 3).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        (np.zeros((1, 3, 2), dtype=bool), "mask_size_mismatch"),
        (MASK, "mask_size_mismatch"),
        ([encode_rle(MASK.T)], "rle_size_mismatch"),
        (np.zeros((1, 2, 3)), "bitmap_malformed"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks, reason):
    with pytest.raises(InputError) as caught:
        as_mask_array(masks, 2, 3)
    assert caught.value.reason == reason


def test_the_index_of_a_bad_mask_is_named():
    grey = np.stack([MASK.astype(np.uint8), MASK.astype(np.uint8) * 7])
    with pytest.raises(InputError, match="mask 1"):
        as_mask_array(grey, 2, 3)


SHARED = Path(os.environ.get("SAMTOK_SHARED_DIR", Path(__file__).parents[3].parent / "shared"))
VOID_CASE = SHARED / "data" / "broken" / "mask_png_with_void"


@pytest.mark.skipif(not VOID_CASE.is_dir(), reason="the shared broken files are not here")
def test_the_void_of_a_voc_map_is_no_object():
    (file,) = VOID_CASE.glob("*.png")
    label_map = np.asarray(Image.open(file))
    assert 255 in label_map
    assert list(label_map_to_masks(label_map)) == [1]
