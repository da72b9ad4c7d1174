"""Scenes: the same arguments give the same one, splits share none, and masks are exact."""

import hashlib
from functools import cache

import numpy as np
import pytest

from samtok.errors import ConfigError
from samtok.scenes import SPLITS, SceneConfig, generate_scene
from samtok.scenes.canvas import NOBODY, Canvas, draw_all
from samtok.scenes.plan import PlannedObject, list_categories
from samtok.scenes.shapes import SHAPES
from samtok.scenes.visible import collect_visible


@cache
def list_scenes(count=300, split="train"):
    return [generate_scene(index, split=split) for index in range(count)]


def plan_figure(category, x, y, radius, part_of=None):
    return PlannedObject(
        category=category,
        figure=SHAPES[category],
        x=x,
        y=y,
        radius=radius,
        angle=0.0,
        color="red",
        texture="plain",
        part_of=part_of,
    )


def draw(*planned, **settings):
    config = SceneConfig(height=40, width=40, min_visible_pixels=1, **settings)
    canvas = Canvas.with_background(40, 40, np.random.default_rng(0))
    figure_pixels = draw_all(list(planned), canvas, np.random.default_rng(0))
    masks, objects, faint = collect_visible(list(planned), figure_pixels, canvas, config)
    return canvas, masks, objects, faint


def test_the_same_arguments_give_the_same_scene():
    for index in range(5):
        first, second = (generate_scene(index, split="val", seed=3) for _ in range(2))
        assert np.array_equal(first.image, second.image)
        assert np.array_equal(first.masks, second.masks)
        assert (first.objects, first.faint) == (second.objects, second.faint)
        assert first.scene_id == f"val-3-{index:08d}"


def test_no_two_scenes_of_any_split_index_or_seed_are_alike():
    scenes = [scene for split in SPLITS for scene in list_scenes(60, split)]
    scenes += [generate_scene(index, seed=1) for index in range(60)]
    hashes = {hashlib.sha256(scene.image.tobytes()).digest() for scene in scenes}
    assert len(hashes) == len({scene.scene_id for scene in scenes}) == 240


def test_a_disc_has_the_pixels_whose_centres_lie_in_it():
    _, masks, objects, _ = draw(plan_figure("circle", 20.0, 12.0, 3.0))
    rows = ["0001000", "0111110", "0111110", "1111111", "0111110", "0111110", "0001000"]
    expected = np.zeros((40, 40), dtype=bool)
    expected[9:16, 17:24] = np.array([[digit == "1" for digit in row] for row in rows])
    assert np.array_equal(masks[0], expected)
    assert (objects[0].area, objects[0].box, objects[0].center) == (29, (17, 9, 23, 15), (20, 12))


def test_the_topmost_figure_owns_a_pixel():
    below, above = plan_figure("square", 10, 10, 10), plan_figure("square", 14, 10, 10)
    canvas, masks, objects, _ = draw(below, above)
    # Squares of half side 8.5: columns 2 to 18 and 6 to 22, rows 2 to 18.
    assert masks[1][2:19, 6:23].all()
    assert masks[1].sum() == 17 * 17
    assert masks[0][2:19, 2:6].all()
    assert masks[0].sum() == 17 * 4
    assert objects[0].visible_share == pytest.approx(4 / 17)
    assert objects[1].visible_share == 1.0
    assert (objects[0].in_front_of, objects[1].in_front_of) == ((), (0,))
    assert (canvas.owners[~masks.any(axis=0)] == NOBODY).all()


def test_what_is_painted_differs_from_the_background_only_inside_the_masks():
    bare = Canvas.with_background(40, 40, np.random.default_rng(0)).picture
    canvas, masks, _, _ = draw(plan_figure("heart", 15, 15, 9), plan_figure("ring", 25, 25, 9))
    assert np.array_equal((canvas.picture != bare).any(axis=2), masks.any(axis=0))


def test_a_whole_holds_its_parts_also_those_that_stick_out():
    whole, part = plan_figure("square", 15, 15, 10), plan_figure("circle", 25, 15, 4, part_of=0)
    _, masks, objects, _ = draw(whole, part)
    assert (masks[0] & ~masks[1]).any()
    assert masks[1][15, 29]
    assert masks[0][15, 29]
    assert objects[1].part_of == 0
    assert [item.visible_share for item in objects] == [1.0, 1.0]


def test_what_shows_too_little_is_faint_and_what_shows_nothing_is_gone():
    hidden, covered = plan_figure("square", 20, 20, 4), plan_figure("square", 12, 20, 10)
    cover = plan_figure("square", 16, 20, 12)
    _, masks, objects, faint = draw(hidden, covered, cover, min_visible_share=0.5)
    assert len(masks) == 1
    assert (objects[0].depth, objects[0].mask_id) == (2, "0")
    assert [(item.depth, item.mask_id) for item in faint] == [(1, "")]


def test_an_object_beyond_the_edge_has_no_mask():
    _, masks, objects, faint = draw(plan_figure("square", 80, 20, 5))
    assert masks.shape == (0, 40, 40)
    assert (objects, faint) == ((), ())


def test_what_is_said_of_an_object_agrees_with_its_mask():
    for scene in list_scenes():
        assert scene.image.shape == (128, 128, 3)
        assert scene.image.dtype == np.uint8
        assert scene.masks.shape == (len(scene.objects), 128, 128)
        for position, (mask, item) in enumerate(zip(scene.masks, scene.objects, strict=True)):
            pixels = np.argwhere(mask)[:, ::-1]
            assert item.mask_id == str(position)
            assert item.category in list_categories()
            assert item.area == len(pixels) >= 24
            assert item.box == (*pixels.min(axis=0), *pixels.max(axis=0))
            assert item.center == pytest.approx(pixels.mean(axis=0))
            assert 0.2 <= item.visible_share <= 1


def test_masks_meet_only_where_one_is_part_of_the_other():
    for scene in list_scenes():
        for position, item in enumerate(scene.objects):
            for other in range(position):
                shared = scene.masks[position] & scene.masks[other]
                if item.part_of == other:
                    assert np.array_equal(shared, scene.masks[position])
                else:
                    assert not shared.any()
            if item.part_of is not None:
                assert scene.objects[item.part_of].part_of is None
                assert item.depth > scene.objects[item.part_of].depth


def test_every_sort_of_object_appears_and_empty_scenes_too():
    scenes = list_scenes()
    objects = [item for scene in scenes for item in scene.objects]
    assert {item.category for item in objects} == set(list_categories())
    counts = {
        "empty scenes": sum(not scene.objects and not scene.faint for scene in scenes),
        "faint": sum(len(scene.faint) for scene in scenes),
        "small": sum(item.area < 150 for item in objects),
        "large": sum(item.area > 4000 for item in objects),
        "thin": sum(item.is_thin for item in objects),
        "parts": sum(item.part_of is not None for item in objects),
        "occluded": sum(item.visible_share < 0.8 for item in objects),
    }
    assert min(counts.values()) >= 3, counts


@pytest.mark.parametrize(("height", "width"), [(48, 160), (160, 48), (33, 100)])
def test_pictures_need_not_be_square(height, width):
    config = SceneConfig(height=height, width=width)
    boxes = []
    for index in range(20):
        scene = generate_scene(index, config=config)
        assert scene.image.shape == (height, width, 3)
        assert scene.masks.shape == (len(scene.objects), height, width)
        boxes += [item.box for item in scene.objects]
    # Objects reach the far edges of either direction.
    assert np.max(boxes, axis=0)[2:].tolist() == [width - 1, height - 1]


def test_the_shares_of_empty_scenes_are_kept():
    assert not generate_scene(0, config=SceneConfig(empty_share=1.0)).objects
    config = SceneConfig(empty_share=0.0, cluttered_share=1.0)
    assert all(len(generate_scene(i, config=config).objects) >= 3 for i in range(10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"height": 31}, "scene height is 31; allowed is 32 to 4096 pixels"),
        ({"width": 4097}, "scene width is 4097; allowed is 32 to 4096 pixels"),
        ({"empty_share": 1.5}, "scene empty_share is 1.5; allowed is 0 to 1"),
        ({"cluttered_share": -0.1}, "scene cluttered_share is -0.1; allowed is 0 to 1"),
        ({"min_visible_share": float("nan")}, "scene min_visible_share is nan"),
        ({"min_visible_pixels": 0}, "scene min_visible_pixels is 0; at least 1"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(ConfigError) as caught:
        SceneConfig(**settings)
    assert message in str(caught.value)


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match=r"split is 'dev'; allowed are train, val, test"):
        generate_scene(0, split="dev")


@pytest.mark.parametrize("name", ["index", "seed"])
def test_a_negative_index_or_seed_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=rf"scene {name} is -1; at least 0"):
        generate_scene(**{"index": 0, name: -1})
