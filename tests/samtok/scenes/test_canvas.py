"""Drawing by hand-made plans: which pixel is whose."""

import numpy as np
import pytest

from samtok.scenes.canvas import Canvas, draw_all
from samtok.scenes.plan import PlannedObject
from samtok.scenes.scene import SceneConfig
from samtok.scenes.shapes import SHAPES
from samtok.scenes.visible import collect_visible

SIDE = 64
CONFIG = SceneConfig(height=SIDE, width=SIDE, min_visible_pixels=20, min_visible_share=0.25)


def plan(figure, x, y, radius, **more):
    known = {"category": figure, "color": "red", "texture": "plain", "angle": 0.0, **more}
    return PlannedObject(figure=SHAPES[figure], x=x, y=y, radius=radius, **known)


def draw(*planned):
    rng = np.random.default_rng(0)
    canvas = Canvas.with_background(SIDE, SIDE, rng)
    pixels = draw_all(list(planned), canvas, rng)
    return pixels, canvas, *collect_visible(list(planned), pixels, canvas, CONFIG)


def count_disc(x, y, radius):
    """Pixel centres within a circle, one by one."""
    return {
        (row, column)
        for row in range(SIDE)
        for column in range(SIDE)
        if (row - y) ** 2 + (column - x) ** 2 <= radius**2 * (1 + 1e-6)
    }


def pixels_of(mask):
    return set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))


@pytest.mark.parametrize(("x", "y", "radius"), [(30, 30, 10), (20.3, 41.7, 7.9), (2.5, 60, 12.2)])
def test_a_circle_is_the_pixel_centres_within_its_radius(x, y, radius):
    _, _, masks, objects, _ = draw(plan("circle", x, y, radius))
    assert pixels_of(masks[0]) == count_disc(x, y, radius)
    assert objects[0].area == masks[0].sum()


def test_turning_a_rectangle_by_a_quarter_swaps_its_sides():
    _, _, masks, _, _ = draw(plan("rectangle", 30.5, 30.5, 12))
    _, _, turned, _, _ = draw(plan("rectangle", 30.5, 30.5, 12, angle=np.pi / 2))
    assert np.array_equal(turned[0], masks[0].T)
    assert not np.array_equal(turned[0], masks[0])


@pytest.mark.parametrize("figure", SHAPES)
def test_no_corner_is_cut_off_however_a_figure_is_turned(figure):
    pixels = draw(plan(figure, 31.5, 31.5, 20, angle=0.8))[0][0]
    right, down = np.meshgrid(np.arange(SIDE) - 31.5, np.arange(SIDE) - 31.5)
    turned = (right + 1j * down) * np.exp(-0.8j) / 20
    assert pixels == pytest.approx(SHAPES[figure](turned.real, turned.imag).sum(), abs=2)


def test_the_later_object_takes_the_pixels_and_the_earlier_keeps_the_rest():
    lower, upper = count_disc(24, 30, 12), count_disc(38, 30, 12)
    _, canvas, masks, objects, _ = draw(
        plan("circle", 24, 30, 12, color="red"), plan("circle", 38, 30, 12, color="blue")
    )
    assert pixels_of(masks[1]) == upper
    assert pixels_of(masks[0]) == lower - upper
    assert objects[0].visible_share == pytest.approx(len(lower - upper) / len(lower))
    assert objects[1].visible_share == 1.0
    red, _, blue = canvas.picture[30, 31]
    assert blue > red, "the pixel that both cover shows the upper one"


def test_in_front_of_names_what_is_visibly_covered():
    _, _, _, objects, _ = draw(
        plan("circle", 20, 30, 12), plan("circle", 34, 30, 12), plan("circle", 48, 30, 12)
    )
    # The third touches the second only: 48 - 20 is more than two radii.
    assert [item.in_front_of for item in objects] == [(), (0,), (1,)]


def test_what_nothing_of_can_be_seen_leaves_no_trace_and_a_rest_is_faint():
    hidden, covered, cover = (
        plan("circle", 30, 30, 5),
        plan("circle", 30, 42.5, 5),
        plan("circle", 30, 30, 16),
    )
    _, _, masks, objects, faint = draw(hidden, covered, cover)
    assert [item.category for item in objects] == ["circle"]
    assert len(masks) == 1
    assert len(faint) == 1
    assert faint[0].mask_id == ""
    assert faint[0].area == len(count_disc(30, 42.5, 5) - count_disc(30, 30, 16))


def test_a_whole_contains_its_parts_also_where_they_stick_out():
    whole = plan("square", 30, 30, 12, category="mug")
    part = plan("circle", 43, 30, 5, category="handle", color="blue", part_of=0)
    pixels, _, masks, objects, _ = draw(whole, part)
    assert objects[1].part_of == 0
    assert (masks[1] <= masks[0]).all()
    assert pixels_of(masks[1]) == count_disc(43, 30, 5)
    assert pixels_of(masks[0]) > pixels_of(masks[1])
    assert objects[0].visible_share == 1.0, "its own parts do not hide a whole"
    assert pixels[0] == masks[0].sum()
    assert [item.in_front_of for item in objects] == [(), ()]


def test_what_covers_a_part_is_in_front_of_the_whole_too():
    whole = plan("square", 30, 30, 12, category="mug")
    part = plan("circle", 46, 30, 6, category="handle", part_of=0)
    _, _, _, objects, _ = draw(whole, part, plan("circle", 54, 30, 6))
    assert objects[2].in_front_of == (0, 1)


def test_an_object_beyond_the_border_has_no_mask():
    pixels, _, masks, objects, faint = draw(plan("circle", -40, 30, 10))
    assert pixels == [0]
    assert masks.shape == (0, SIDE, SIDE)
    assert objects == ()
    assert faint == ()
