"""Boxes and areas, against torchvision and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from torchvision.ops import masks_to_boxes

from samtok.errors import InputError
from samtok.masks import compute_areas, compute_boxes


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=12)))
def test_boxes_equal_torchvision(masks):
    masks = masks[masks.any(axis=(1, 2))]
    boxes = compute_boxes(masks)
    assert boxes.dtype == np.float32
    assert boxes.shape == (len(masks), 4)
    assert np.array_equal(boxes, masks_to_boxes(torch.from_numpy(masks)).numpy())


def test_a_box_ends_at_the_last_pixel_inside():
    mask = np.zeros((1, 5, 7), dtype=bool)
    mask[0, 1:3, 2:6] = True
    assert compute_boxes(mask).tolist() == [[2, 1, 5, 2]]


def test_an_empty_mask_has_no_box():
    masks = np.ones((3, 2, 2), dtype=bool)
    masks[1] = False
    with pytest.raises(InputError, match="mask 1 of 3") as caught:
        compute_boxes(masks)
    assert caught.value.reason == "mask_empty"


def test_areas_count_pixels():
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[1, :3, :2] = True
    areas = compute_areas(masks)
    assert areas.dtype == np.int64
    assert areas.tolist() == [0, 6]
