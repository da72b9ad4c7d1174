"""Figures against their areas from school geometry."""

import numpy as np
import pytest

from samtok.scenes.shapes import SHAPES, thin_shape

STEP = 1 / 200
AXIS = np.arange(-2, 2, STEP) + STEP / 2
V, U = np.meshgrid(AXIS, AXIS, indexing="ij")

AREAS = {
    "circle": np.pi,
    "ellipse": 0.55 * np.pi,
    "square": 1.7**2,
    "rectangle": 2.0,
    "triangle": 1.75,  # base 2, height 1.75
    "ring": np.pi * (1 - 0.6**2),
    "cross": 2 * 2 * 0.66 - 0.66**2,  # two bars, their common square once
    "L-shape": 4 - 1.4**2,
    "arrow": 1.3 * 0.4 + 0.5 * 0.8 * 2 * 0.68 - 0.1 * 0.4,  # shaft, head, less what they share
    "dome": np.pi / 2,
}


def measure(figure):
    return figure(U, V).sum() * STEP**2


@pytest.mark.parametrize(("name", "area"), AREAS.items())
def test_a_figure_has_the_area_of_its_formula(name, area):
    assert measure(SHAPES[name]) == pytest.approx(area, rel=0.01)


@pytest.mark.parametrize("thickness", [0.1, 0.4])
def test_thin_figures_are_as_thick_as_asked(thickness):
    assert measure(thin_shape("bar", thickness)) == pytest.approx(2 * thickness, rel=0.06)
    hoop = np.pi * (1 - (1 - thickness) ** 2)
    assert measure(thin_shape("hoop", thickness)) == pytest.approx(hoop, rel=0.02)


@pytest.mark.parametrize("name", SHAPES)
def test_a_figure_stays_within_the_reach_that_is_drawn(name):
    assert np.hypot(U, V)[SHAPES[name](U, V)].max() <= 1.45


@pytest.mark.parametrize("name", SHAPES)
def test_a_figure_is_not_a_sliver(name):
    assert measure(SHAPES[name]) > 0.8


@pytest.mark.parametrize(("name", "points"), [("ring", [(0, 0)]), ("crescent", [(0.5, 0)])])
def test_holes_and_bays_are_outside(name, points):
    for u, v in points:
        assert not SHAPES[name](np.array([u]), np.array([v]))[0]
