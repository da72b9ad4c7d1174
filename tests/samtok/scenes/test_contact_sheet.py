"""The sheet shows every scene beside its overlay, and says something under it."""

import numpy as np
import pytest

from samtok.scenes import SceneConfig, generate_scene
from samtok.scenes.contact_sheet import build_contact_sheet


def test_image_and_overlay_stand_side_by_side_in_their_colours():
    scene = generate_scene(1, config=SceneConfig(empty_share=1.0))
    overlay = np.full_like(scene.image, (10, 200, 30))
    sheet = np.asarray(build_contact_sheet([scene], [overlay], num_columns=1))
    green = (sheet == (10, 200, 30)).all(axis=-1)
    rows, columns = np.nonzero(green)
    side = np.ptp(rows) + 1
    assert green.sum() == side * (np.ptp(columns) + 1) > 100**2
    left_of_it = sheet[rows.min() : rows.max() + 1, : columns.min()]
    shown = set(map(tuple, scene.image.reshape(-1, 3)))
    pixels = [tuple(pixel) for pixel in left_of_it.reshape(-1, 3)]
    assert sum(pixel in shown for pixel in pixels) >= green.sum()
    caption = sheet[rows.max() + 1 :]
    assert (caption.max(axis=-1) < 100).sum() > 50, "dark letters under the tiles"


def test_more_scenes_make_more_rows():
    scenes = [generate_scene(index) for index in range(4)]
    overlays = [scene.image for scene in scenes]
    two = build_contact_sheet(scenes[:2], overlays[:2], num_columns=2)
    four = build_contact_sheet(scenes, overlays, num_columns=2)
    assert four.width == two.width
    assert four.height > 1.8 * two.height


@pytest.mark.parametrize("num_overlays", [0, 2])
def test_overlays_must_match_the_scenes(num_overlays):
    scene = generate_scene(0)
    with pytest.raises(ValueError, match="one for each"):
        build_contact_sheet([scene], [scene.image] * num_overlays)
