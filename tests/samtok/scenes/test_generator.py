"""Whole scenes: repeatable, disjoint by split, and rich enough to be worth measuring on."""

import hashlib

import numpy as np
import pytest

from samtok.errors import ConfigError
from samtok.scenes import SPLITS, SceneConfig, generate_scene

NUM_SCENES = 200


@pytest.fixture(scope="module")
def scenes():
    return [generate_scene(index, split="val", seed=5) for index in range(NUM_SCENES)]


@pytest.fixture(scope="module")
def objects(scenes):
    return [item for scene in scenes for item in scene.objects]


def test_the_same_arguments_give_the_same_scene():
    first, second = (generate_scene(7, split="val", seed=3) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.masks, second.masks)
    assert first.objects == second.objects
    assert first.scene_id == "val-3-00000007"


def test_no_two_scenes_of_any_split_seed_or_index_are_the_same_picture():
    pictures = [
        hashlib.sha256(generate_scene(index, split=split, seed=seed).image.tobytes()).digest()
        for split in SPLITS
        for seed in (0, 1)
        for index in range(40)
    ]
    assert len(set(pictures)) == len(pictures) == 240


def test_masks_and_descriptions_agree(scenes):
    for scene in scenes:
        assert scene.image.dtype == np.uint8
        assert scene.masks.dtype == bool
        assert len(scene.masks) == len(scene.objects)
        for mask, item in zip(scene.masks, scene.objects, strict=True):
            rows, columns = np.nonzero(mask)
            assert item.area == len(rows) >= 24
            assert item.box == (columns.min(), rows.min(), columns.max(), rows.max())
            assert item.center == pytest.approx((columns.mean(), rows.mean()))
            assert 0.2 <= item.visible_share <= 1.0


def test_masks_overlap_only_between_a_whole_and_its_parts(scenes):
    for scene in scenes:
        flat = scene.masks.reshape(-1, scene.image[..., 0].size).astype(np.float32)
        shared = flat @ flat.T
        for i, j in zip(*np.nonzero(np.triu(shared, 1)), strict=True):
            assert scene.objects[j].part_of == i
            assert shared[i, j] == scene.objects[j].area, "the whole holds all of the part"


def test_every_kind_of_difficulty_is_there(scenes, objects):
    assert sum(not scene.objects for scene in scenes) >= 2
    assert sum(len(scene.objects) >= 8 for scene in scenes) >= 20
    assert sum(item.is_thin for item in objects) >= 50
    assert sum(item.part_of is not None for item in objects) >= 50
    assert sum(item.visible_share < 0.8 for item in objects) >= 50
    assert sum(item.area < 150 for item in objects) >= 50
    assert sum(item.area > 3000 for item in objects) >= 20
    assert any(0 in item.box for item in objects), "some reach the border"


def test_every_colour_texture_and_nearly_every_category_is_there(objects):
    assert len({item.color for item in objects}) == 12
    assert {item.texture for item in objects} == {
        "plain", "striped", "dotted", "checkered", "shaded"
    }  # fmt: skip
    assert len({item.category for item in objects}) >= 30


@pytest.mark.parametrize(("height", "width"), [(64, 200), (256, 96)])
def test_other_sizes_scale_the_content(height, width):
    config = SceneConfig(height=height, width=width)
    scenes = [generate_scene(index, config=config) for index in range(40)]
    assert all(scene.image.shape == (height, width, 3) for scene in scenes)
    assert all(scene.masks.shape[1:] == (height, width) for scene in scenes)
    centers = np.array([item.center for scene in scenes for item in scene.objects])
    assert centers[:, 0].max() > 0.8 * width
    assert centers[:, 1].max() > 0.8 * height


def test_shares_of_empty_and_cluttered_scenes_are_settings():
    empty = SceneConfig(empty_share=1.0)
    assert not any(generate_scene(index, config=empty).objects for index in range(5))
    crowded = SceneConfig(empty_share=0.0, cluttered_share=1.0)
    seen = [generate_scene(index, config=crowded) for index in range(20)]
    assert np.mean([len(s.objects) + len(s.faint) for s in seen]) > 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 16),
        ("width", 5000),
        ("min_visible_share", 1.5),
        ("empty_share", -0.1),
        ("cluttered_share", 2.0),
        ("min_visible_pixels", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=field):
        SceneConfig(**{field: value})


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="train, val, test"):
        generate_scene(0, split="dev")


@pytest.mark.parametrize("name", ["index", "seed"])
def test_a_negative_index_or_seed_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=rf"scene {name} is -1; at least 0"):
        generate_scene(**{"index": 0, name: -1})
