"""Stability of words, with a tokenizer whose answers can be worked out by hand."""

import numpy as np
import pytest

from samtok.metrics.stability import (
    PERTURBATIONS,
    add_noise,
    dilate_masks,
    measure_stability,
    shift_masks,
)
from samtok.scenes import generate_scene

IMAGE = np.zeros((40, 40, 3), dtype=np.uint8)


def squares(*corners, side=4):
    masks = np.zeros((len(corners), 40, 40), dtype=bool)
    for mask, (y, x) in zip(masks, corners, strict=True):
        mask[y : y + side, x : x + side] = True
    return masks


def test_a_shift_moves_every_pixel_one_aside():
    masks = squares((10, 10), (20, 20), (5, 30), (30, 5), (1, 1), (8, 25), (12, 12), (30, 30))
    shifted = shift_masks(masks, seed=3)
    steps = {
        tuple(np.argwhere(after)[0] - np.argwhere(before)[0])
        for after, before in zip(shifted, masks, strict=True)
    }
    assert steps <= {(-1, 0), (1, 0), (0, -1), (0, 1)}
    assert len(steps) > 1
    assert (shifted.sum(axis=(1, 2)) == 16).all()


def test_a_shift_never_empties_a_mask():
    for index in range(20):
        corner = np.zeros((1, 5, 5), dtype=bool)
        corner[0, 0, 0] = True
        assert shift_masks(corner, seed=index).sum() == 1
    assert shift_masks(np.ones((1, 1, 1), dtype=bool)).all()


def test_dilation_adds_what_shares_a_side():
    mask = np.zeros((1, 5, 6), dtype=bool)
    mask[0, 0, 0] = mask[0, 3, 3] = True
    expected = {(0, 0), (0, 1), (1, 0), (3, 3), (2, 3), (4, 3), (3, 2), (3, 4)}
    assert {tuple(point) for point in np.argwhere(dilate_masks(mask)[0])} == expected


def test_noise_has_its_deviation_and_is_clipped():
    grey = np.full((200, 200, 3), 128, dtype=np.uint8)
    noisy = add_noise(grey, 5.0, seed=1)
    assert noisy.dtype == np.uint8
    # Rounding to whole numbers adds 1/12 to the variance.
    assert noisy.std() == pytest.approx(np.sqrt(25 + 1 / 12), rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.1)
    black = add_noise(IMAGE, 40.0)
    assert black.min() == 0
    assert 0.4 < (black == 0).mean() < 0.6
    assert np.array_equal(add_noise(grey, 0.0), grey)


def test_figures_by_hand(corner_tokenizer):
    found = measure_stability(
        corner_tokenizer, IMAGE, squares((10, 10), (20, 25)), seed=0, noise_sigma=0.0
    )
    assert tuple(found) == PERTURBATIONS
    # A square of 4 by 4 shifted by one shares 12 of 20 pixels with itself; the codes follow it.
    shift = found["shift"].means()
    assert shift["pair_kept"] == 0
    assert shift["decoding_iou"] == pytest.approx(0.6)
    assert shift["disturbed_iou"] == pytest.approx(0.6)
    assert shift["reconstruction_iou"] == 1
    # Dilated, it has 16 + 4 · 4 pixels and its first row and column move by one: the decoded square
    # lies 1 up and 1 left, 9 of 23 pixels shared with the old one, 15 of its 16 in the dilated.
    dilate = found["dilate"].means()
    assert dilate["first_kept"] == dilate["pair_kept"] == 0
    assert dilate["decoding_iou"] == pytest.approx(9 / 23)
    assert dilate["disturbed_iou"] == pytest.approx(16 / 32)
    assert dilate["reconstruction_iou"] == pytest.approx(15 / 33)
    assert found["noise"].means() == dict.fromkeys(dilate, 1.0)


def test_a_level_shift_keeps_the_first_code_only(corner_tokenizer):
    masks = squares(*[(10, 10)] * 30)
    found = measure_stability(corner_tokenizer, IMAGE, masks, seed=5)["shift"]
    is_level = shift_masks(masks, seed=5).any(axis=2).argmax(axis=1) == 10  # first row as before
    assert is_level.any()
    assert not is_level.all()
    assert np.array_equal(found.first_kept, is_level)
    assert not found.pair_kept.any()


def test_noise_is_seen_through_the_image(corner_tokenizer):
    image = np.full((40, 40, 3), 3, dtype=np.uint8)
    sigma = 2.0
    moved = int(add_noise(image, sigma, seed=2)[0, 0, 0]) - 3
    assert moved != 0
    found = measure_stability(
        corner_tokenizer, image, squares((10, 10)), seed=2, noise_sigma=sigma
    )["noise"]
    assert found.first_kept.tolist() == [True]
    assert found.pair_kept.tolist() == [False]
    assert found.disturbed_iou.tolist() == [1]
    shared = max(0, 4 - abs(moved)) * 4
    assert found.decoding_iou[0] == pytest.approx(shared / (32 - shared))


def test_the_same_seed_gives_the_same_figures(random_tokenizer):
    scene = next(s for i in range(50) if len((s := generate_scene(i, split="val")).masks) > 3)
    first, again = (
        measure_stability(random_tokenizer, scene.image, scene.masks, seed=[7, 1]) for _ in range(2)
    )
    for name in PERTURBATIONS:
        for a, b in zip(first[name], again[name], strict=True):
            assert np.array_equal(a, b)
        kept = first[name].pair_kept
        if name != "noise":
            assert (first[name].decoding_iou[kept] == 1).all()
        assert (first[name].first_kept | ~kept).all()
