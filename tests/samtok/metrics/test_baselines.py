"""Boxes and polygons of few vertices as reconstructions."""

import numpy as np
import pytest

from samtok.errors import InputError
from samtok.metrics.baselines import box_reconstruction, polygon_reconstruction, simplify_ring
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
