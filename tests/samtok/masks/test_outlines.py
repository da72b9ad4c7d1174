"""Outlines: rasterised by pycocotools they give the mask back, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from samtok.masks import mask_to_polygons, trace_rings


def draw(polygons, shape):
    return coco.decode(coco.merge(coco.frPyObjects(polygons, *shape))).astype(bool)


def picture(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


def shoelace(polygon):
    x, y = np.array(polygon).reshape(-1, 2).T
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2


SHAPES = {
    "one pixel": picture("...", ".#.", "..."),
    "whole image": picture("##", "##"),
    "touching at a corner": picture("#.", ".#"),
    "touching at the other corner": picture(".#", "#."),
    "ring": picture("####", "#..#", "####"),
    "ring around a pixel": picture("#####", "#...#", "#.#.#", "#...#", "#####"),
    "holes touching at a corner": picture("####", "#.##", "##.#", "####"),
    "hole open at a corner": picture("###.", "#.##", "####"),
    "row of holes": picture("#########", "#.#.#.#.#", "#########"),
    "holes above each other": picture("###", "#.#", "###", "#.#", "###"),
    "checkers": picture("#.#.#", ".#.#.", "#.#.#"),
}


@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES.keys())
def test_hand_drawn_shapes_come_back(mask):
    assert np.array_equal(draw(mask_to_polygons(mask), mask.shape), mask)


@given(
    arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=16)),
    st.integers(1, 3),
)
def test_any_mask_comes_back(mask, magnification):
    mask = np.kron(mask, np.ones((magnification, magnification), dtype=bool))
    polygons = mask_to_polygons(mask)
    if not mask.any():
        assert polygons == []
        return
    assert np.array_equal(draw(polygons, mask.shape), mask)
    for polygon in polygons:
        corners = np.array(polygon).reshape(-1, 2)
        assert (corners == np.roll(corners, 1, axis=0)).any(axis=1).all()
    # Slits have no width, so the areas add up without any rasteriser.
    assert sum(shoelace(polygon) for polygon in polygons) == mask.sum()


def test_a_pixel_is_the_square_around_its_centre():
    assert mask_to_polygons(SHAPES["one pixel"]) == [[1, 1, 2, 1, 2, 2, 1, 2]]


def test_regions_touching_at_a_corner_are_polygons_of_their_own():
    assert len(mask_to_polygons(SHAPES["touching at a corner"])) == 2


def test_a_region_with_holes_is_one_polygon():
    assert len(mask_to_polygons(SHAPES["row of holes"])) == 1


def test_many_holes_in_a_row_are_joined_one_to_the_next():
    mask = np.ones((3, 4001), dtype=bool)
    mask[1, 1::2] = False
    (polygon,) = mask_to_polygons(mask)
    assert np.array_equal(draw([polygon], mask.shape), mask)


def test_rings_tell_outlines_from_holes_by_their_direction():
    areas = sorted(shoelace(ring) for ring in trace_rings(SHAPES["ring around a pixel"]))
    # The hole of 3 × 3, the pixel in it, and the outer square of 5 × 5.
    assert areas == [-9, 1, 25]


def test_an_empty_mask_has_no_outline():
    assert trace_rings(np.zeros((3, 3), dtype=bool)) == []
