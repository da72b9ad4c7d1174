"""Boundary F: by hand, and against distances taken between all pairs of boundary pixels."""

import numpy as np
import pytest

from samtok.metrics.boundary import boundary_f_score, boundary_tolerance_pixels, find_boundary
from samtok.scenes import generate_scene


def square(top, left, side=20, size=100):
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def outline_by_definition(mask):
    """Pixel by pixel: unlike its right, lower or lower right neighbour inside the image."""
    height, width = mask.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            mask[y, x] != mask[y + dy, x + dx]
            for dy, dx in ((0, 1), (1, 0), (1, 1))
            if y + dy < height and x + dx < width
        )
    ]


def score_by_distances(prediction, target):
    """F from the full matrix of distances; the tolerance worked out anew."""
    limit = max(1.0, np.ceil(0.008 * np.sqrt(np.sum(np.square(prediction.shape)))))
    p, t = (np.array(outline_by_definition(m)).reshape(-1, 2) for m in (prediction, target))
    if len(p) == 0 or len(t) == 0:
        return float(len(p) == len(t))
    distances = np.sqrt(((p[:, None] - t[None]) ** 2).sum(axis=2))
    precision = (distances.min(axis=1) <= limit).mean()
    recall = (distances.min(axis=0) <= limit).mean()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(
    ("height", "width", "pixels"),
    # 0.008 · √2 · 100 = 1.13; 0.008 · 800 = 6.4 (a 3-4-5 triangle); 0.008 · √2 · 10 = 0.11.
    [(100, 100, 2), (480, 640, 7), (10, 10, 1)],
)
def test_the_tolerance_is_rounded_up_to_whole_pixels(height, width, pixels):
    assert boundary_tolerance_pixels(height, width) == pixels


def test_the_boundary_of_a_pixel_lies_towards_the_origin():
    mask = np.zeros((4, 4), dtype=bool)
    mask[2, 2] = True
    expected = [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [tuple(point) for point in np.argwhere(find_boundary(mask))] == expected


def test_equal_masks_agree_and_distant_ones_do_not():
    masks = np.stack([square(10, 10), square(10, 10)])
    others = np.stack([square(10, 10), square(60, 60)])
    assert boundary_f_score(masks, others).tolist() == [1, 0]


def test_a_shift_within_the_tolerance_is_forgiven_and_one_beyond_it_is_not():
    # The tolerance is 2 pixels. Three to the right: the upright sides, 19 pixels each without
    # their ends, are out of reach, and so are pixels near the ends of the level ones.
    assert boundary_f_score(square(10, 10)[None], square(10, 12)[None]) == 1
    assert 0 < boundary_f_score(square(10, 10)[None], square(10, 13)[None])[0] < 0.6


def test_a_half_that_matches_has_full_precision_and_half_the_recall():
    # Strips across the whole image have straight boundaries of 100 pixels each, so the target has
    # 200 and the prediction, which ends at the image's edge, only one of them: P 1, R 1/2, F 2/3.
    target, prediction = (np.zeros((100, 100), dtype=bool) for _ in range(2))
    target[40:60] = True
    prediction[40:] = True
    assert boundary_f_score(prediction[None], target[None]) == pytest.approx(2 / 3)


def test_masks_without_a_boundary():
    empty, full = np.zeros((9, 9), dtype=bool), np.ones((9, 9), dtype=bool)
    part = square(2, 2, side=3, size=9)
    predictions = np.stack([empty, empty, part, full])
    assert boundary_f_score(predictions, np.stack([empty, part, empty, empty])).tolist() == [
        1,
        0,
        0,
        1,  # the image's edge is no boundary, as in the published evaluation
    ]


def test_scores_equal_those_of_all_pairwise_distances():
    rng = np.random.default_rng(0)
    for index in range(4):
        masks = generate_scene(index, split="val").masks[:3, ::2, :100]
        others = np.stack([np.roll(m, rng.integers(-6, 7, 2), axis=(0, 1)) for m in masks])
        expected = [score_by_distances(o, m) for o, m in zip(others, masks, strict=True)]
        assert boundary_f_score(others, masks) == pytest.approx(expected, abs=1e-6)
    noise = rng.random((2, 40, 70)) < 0.1
    expected = [score_by_distances(noise[0], noise[1]), score_by_distances(noise[1], noise[0])]
    assert boundary_f_score(noise, noise[::-1]) == pytest.approx(expected, abs=1e-6)


def test_masks_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        boundary_f_score(square(1, 1)[None], square(1, 1))
