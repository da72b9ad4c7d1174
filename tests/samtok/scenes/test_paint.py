"""Colours stay what they are called; textures vary as they are called."""

import numpy as np
import pytest

from samtok.scenes.paint import COLORS, TEXTURES, paint_background, paint_object

Y, X = (axis.ravel().astype(np.float32) for axis in np.mgrid[-16:16, -16:16])


def paint(color, texture, seed=0):
    return paint_object(color, texture, X, Y, np.random.default_rng(seed))


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_painted_colour_is_nearest_to_its_own_name(texture):
    table = np.array(list(COLORS.values()), dtype=np.float64)
    chroma = table - table.mean(axis=1, keepdims=True)
    for name in ("red", "blue", "green", "yellow", "purple", "cyan"):
        mean = paint(name, texture).mean(axis=0)
        distances = np.linalg.norm(chroma - (mean - mean.mean()), axis=1)
        assert list(COLORS)[int(distances.argmin())] == name


def test_plain_has_one_shade_and_every_other_texture_several():
    assert np.ptp(paint("red", "plain"), axis=0).max() == 0
    for texture in set(TEXTURES) - {"plain"}:
        assert np.ptp(paint("red", texture), axis=0).max() > 20


def test_stripes_run_across_and_do_not_vary_along():
    striped = paint("red", "striped").reshape(32, 32, 3)
    assert np.ptp(striped, axis=0).max() == 0
    assert np.ptp(striped, axis=1).max() > 20


def test_backgrounds_come_in_all_kinds():
    pictures = [paint_background(48, 64, np.random.default_rng(seed)) for seed in range(40)]
    assert all(picture.shape == (48, 64, 3) for picture in pictures)
    flat = [np.ptp(picture, axis=(0, 1)).max() == 0 for picture in pictures]
    assert any(flat)
    assert not all(flat)
