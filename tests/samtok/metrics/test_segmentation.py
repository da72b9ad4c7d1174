"""Overlap and IoU of masks, and size bins."""

import numpy as np
import pytest

from samtok.metrics.segmentation import area_bin, mask_iou, measure_overlap, pairwise_iou

FULL, EMPTY = np.ones((2, 3), dtype=bool), np.zeros((2, 3), dtype=bool)
LEFT = np.array([[1, 0, 0], [1, 0, 0]], dtype=bool)


def test_iou_is_the_shared_part_of_the_union():
    # 2 of 6 pixels; nothing in common; the same; both empty.
    iou = mask_iou(np.stack([LEFT, LEFT, FULL, EMPTY]), np.stack([FULL, EMPTY, FULL, EMPTY]))
    assert iou.dtype == np.float32
    assert iou == pytest.approx([1 / 3, 0, 1, 1])


def test_no_masks_have_no_iou():
    assert mask_iou(np.zeros((0, 2, 3), bool), np.zeros((0, 2, 3), bool)).shape == (0,)


@pytest.mark.parametrize("other", [FULL[None], FULL, np.ones((2, 3, 2), bool)])
def test_iou_of_other_shapes_is_refused(other):
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        mask_iou(np.stack([LEFT, LEFT]), other)


@pytest.mark.parametrize(
    ("area", "name"),
    [(1, "small"), (1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")],
)
def test_size_bins_are_those_of_coco(area, name):
    assert area_bin(area) == name


def test_overlap_counts_pixels():
    # LEFT is 2 pixels; the top row 3, one of them shared.
    top = np.array([[1, 1, 1], [0, 0, 0]], dtype=bool)
    overlap = measure_overlap(LEFT, top)
    assert overlap == (1, 2, 3)
    assert overlap.union == 4
    assert overlap.iou == 1 / 4
    assert measure_overlap(EMPTY, EMPTY).iou == 1
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        measure_overlap(LEFT, LEFT.T)


def test_every_pair_has_an_iou():
    ious = pairwise_iou(np.stack([LEFT, EMPTY]), np.stack([LEFT, FULL, EMPTY]))
    assert ious == pytest.approx(np.array([[1, 1 / 3, 0], [0, 0, 1]]))
    assert pairwise_iou(np.zeros((0, 2, 3), bool), LEFT[None]).shape == (0, 1)
    with pytest.raises(ValueError, match="P, H, W"):
        pairwise_iou(LEFT[None], LEFT.T[None])
