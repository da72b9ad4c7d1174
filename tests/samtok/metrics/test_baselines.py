"""Boxes, polygons of few vertices and small bitmaps as reconstructions."""

import itertools
import math

import numpy as np
import pytest

from samtok.errors import InputError
from samtok.metrics.baselines import (
    BASELINES,
    bitmap_reconstruction,
    box_reconstruction,
    coarse_box_reconstruction,
    polygon_reconstruction,
    rebuild_all,
    simplify_ring,
)
from samtok.metrics.segmentation import mask_iou

ROWS, COLUMNS = np.mgrid[:60, :80]
ELLIPSE = ((COLUMNS - 40) / 30) ** 2 + ((ROWS - 30) / 18) ** 2 < 1
L_SHAPE = (COLUMNS < 50) & (ROWS < 40) & ~((COLUMNS > 20) & (ROWS > 15))


def iou(reconstruction, mask):
    return float(mask_iou(reconstruction[None], mask[None])[0])


def test_a_rectangle_is_its_box():
    rectangle = (COLUMNS >= 5) & (COLUMNS < 30) & (ROWS >= 7) & (ROWS < 9)
    assert np.array_equal(box_reconstruction(rectangle), rectangle)


def test_a_box_overfills_what_is_round():
    # An ellipse fills π/4 of its box.
    assert iou(box_reconstruction(ELLIPSE), ELLIPSE) == pytest.approx(np.pi / 4, abs=0.03)


def test_an_empty_mask_has_no_box():
    with pytest.raises(InputError, match="mask_empty"):
        box_reconstruction(np.zeros((3, 3), dtype=bool))


def test_shapes_of_eight_corners_or_fewer_are_exact():
    assert np.array_equal(polygon_reconstruction(L_SHAPE), L_SHAPE)


def test_eight_vertices_beat_a_box_on_what_is_round():
    # A box around an ellipse fits it to π/4 = 0.79, the best inscribed octagon to 2√2/π = 0.90.
    assert iou(polygon_reconstruction(ELLIPSE), ELLIPSE) > 0.9


def test_a_polygon_is_swollen_to_the_area_of_what_it_outlines():
    # Corners of the outline alone reach 0.936 here.
    disc = (COLUMNS - 40) ** 2 + (ROWS - 30) ** 2 < 29**2
    assert iou(polygon_reconstruction(disc), disc) > 0.95


def test_more_vertices_fit_better():
    fits = [iou(polygon_reconstruction(ELLIPSE, count), ELLIPSE) for count in (3, 5, 8, 16)]
    assert fits == sorted(fits)


def test_only_the_largest_region_is_outlined():
    two = L_SHAPE | ((COLUMNS > 70) & (ROWS > 50))
    assert np.array_equal(polygon_reconstruction(two), L_SHAPE)


def test_an_empty_mask_stays_empty():
    assert not polygon_reconstruction(np.zeros((3, 4), dtype=bool)).any()


def test_the_least_corner_goes_first():
    # A square with a small bump on its right side.
    ring = np.array([[0, 0], [10, 0], [10, 4], [10.5, 5], [10, 6], [10, 10], [0, 10]], dtype=float)
    assert simplify_ring(ring, 4).tolist() == [[0, 0], [10, 0], [10, 10], [0, 10]]


def test_a_short_ring_is_kept():
    ring = np.array([[0, 0], [4, 0], [0, 4]], dtype=float)
    assert np.array_equal(simplify_ring(ring, 8), ring)


def test_a_polygon_has_three_vertices():
    with pytest.raises(ValueError, match="at least 3"):
        simplify_ring(np.zeros((5, 2)), 2)


def test_a_coarse_box_has_its_sides_on_the_nearest_lines():
    # 64 pixels in 16 strips of 4. Columns 5 to 18 reach from 5 to 19: the nearest lines are 4 and
    # 20. Rows 29 to 34 reach from 29 to 35: lines 28 and 36.
    mask = np.zeros((64, 64), dtype=bool)
    mask[29:35, 5:19] = True
    expected = np.zeros_like(mask)
    expected[28:36, 4:20] = True
    assert np.array_equal(coarse_box_reconstruction(mask), expected)


@pytest.mark.parametrize("pixel", [(0, 0), (59, 79), (30, 41)])
def test_a_coarse_box_is_never_empty(pixel):
    mask = np.zeros((60, 80), dtype=bool)
    mask[pixel] = True
    filled = coarse_box_reconstruction(mask)
    assert 0 < filled.sum() <= 4 * 5  # one strip of at most 4 rows and 5 columns


def test_a_bitmap_takes_the_cells_that_make_the_iou_best():
    rng = np.random.default_rng(1)
    for _ in range(20):
        mask = rng.random((9, 7)) < rng.random()
        mask[0, 0] = True
        # All 15 choices of cells of a 2 x 2 bitmap; row 4 and column 3 end the first halves.
        tried = []
        for bits in itertools.product([False, True], repeat=4):
            candidate = np.zeros_like(mask)
            candidate[:5, :4], candidate[:5, 4:] = bits[0], bits[1]
            candidate[5:, :4], candidate[5:, 4:] = bits[2], bits[3]
            tried.append(iou(candidate, mask))
        assert iou(bitmap_reconstruction(mask, 2), mask) == pytest.approx(max(tried))


def test_a_bitmap_as_fine_as_the_image_is_exact():
    square = ELLIPSE[:60, 10:70]
    assert np.array_equal(bitmap_reconstruction(square, 60), square)


def test_coarse_corners_are_on_the_lattice_and_inside_the_image():
    # On 3 values each way, corners lie at 0, 40, 80 and 0, 30, 60: a mask of a quarter is exact.
    quarter = (COLUMNS >= 40) & (ROWS < 30)
    assert np.array_equal(polygon_reconstruction(quarter, 4, num_levels=3), quarter)
    nearly = (COLUMNS >= 44) & (ROWS < 27)
    assert np.array_equal(polygon_reconstruction(nearly, 4, num_levels=3), quarter)


def test_lengths_are_what_the_descriptions_take():
    lengths = {baseline.name: (baseline.num_numbers, baseline.num_bits) for baseline in BASELINES}
    assert lengths == {
        "box_16_bits": (4, 4 * 4),
        "polygon_16_bits": (6, math.ceil(6 * math.log2(6))),
        "bitmap_16_bits": (16, 16),
        "box": (4, 40),
        "polygon_8": (16, 160),
        "bitmap_32": (1024, 1024),
    }
    assert sum(bits == 2 * math.log2(256) for _, bits in lengths.values()) == 3


def test_all_baselines_rebuild_all_masks():
    masks = np.stack([ELLIPSE, L_SHAPE])
    rebuilt = rebuild_all(masks)
    assert list(rebuilt) == [baseline.name for baseline in BASELINES]
    assert all(r.shape == masks.shape and r.dtype == bool for r in rebuilt.values())
    assert np.array_equal(rebuilt["polygon_8"][1], L_SHAPE)
    assert all(r.shape == (0, 60, 80) for r in rebuild_all(masks[:0]).values())
    # Sixteen bits keep less than what they are short for.
    for short, long in (("box_16_bits", "box"), ("bitmap_16_bits", "bitmap_32")):
        assert iou(rebuilt[short][0], ELLIPSE) < iou(rebuilt[long][0], ELLIPSE)
