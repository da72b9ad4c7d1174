"""Boxes of masks, the last pixel inside."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou as torchvision_iou

from samtok.errors import InputError
from samtok.metrics.boxes import box_iou, has_right_box


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((10, 10), dtype=bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def test_box_iou_equals_torchvisions_of_the_box_around_the_pixels():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 50, (2, 200, 2, 2)), axis=2).reshape(2, 200, 4)
    ours = box_iou(*corners.astype(np.float32))
    edges = torch.from_numpy(corners + np.array([0, 0, 1, 1]))
    assert ours == pytest.approx(torchvision_iou(*edges).diagonal().numpy())
    assert 0 < (ours > 0).mean() < 1


def test_a_box_is_right_from_half_the_union_on():
    # The target's box is 4 x 2 = 8 pixels; half of it is 4, a box of 3 falls short.
    target = rectangle(2, 3, 5, 4)
    assert has_right_box(rectangle(2, 3, 3, 4), target)
    assert not has_right_box(rectangle(2, 3, 4, 3), target)


def test_only_the_box_counts():
    ring = rectangle(1, 1, 8, 8) & ~rectangle(2, 2, 7, 7)
    assert has_right_box(ring, rectangle(1, 1, 8, 8))


def test_nothing_predicted_is_wrong_and_nothing_to_find_is_no_sample():
    assert not has_right_box(np.zeros((10, 10), bool), rectangle(0, 0, 1, 1))
    with pytest.raises(InputError, match="mask_empty"):
        has_right_box(rectangle(0, 0, 1, 1), np.zeros((10, 10), bool))
