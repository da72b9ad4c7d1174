"""Annotations from outside: read as pycocotools reads them when good, named when bad.

What would crash pycocotools is tried in this very process: nothing of it may get there.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from samtok.errors import InputError
from samtok.masks import MAX_PIXELS, decode_segmentation, encode_rle, segmentation_to_rle
from samtok.masks.polygons import MAX_OUTLINE_PIXELS

H, W = 40, 60
SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]
INF, NAN = float("inf"), float("nan")


def draw_with_pycocotools(polygons, height, width):
    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)


def reason_of(segmentation, height=H, width=W):
    with pytest.raises(InputError) as caught:
        decode_segmentation(segmentation, height, width)
    return caught.value.reason


def test_a_square_covers_the_pixels_it_encloses():
    expected = np.zeros((H, W), dtype=bool)
    expected[10:20, 10:20] = True
    assert np.array_equal(decode_segmentation([SQUARE], H, W), expected)


@given(
    st.lists(
        st.lists(st.floats(0, 40).map(lambda v: round(v, 2)), min_size=6, max_size=16).map(
            lambda values: values[: len(values) // 2 * 2]
        ),
        min_size=1,
        max_size=4,
    )
)
def test_polygons_in_the_image_are_drawn_as_by_pycocotools(polygons):
    expected = draw_with_pycocotools(polygons, H, W)
    if expected.any():
        assert np.array_equal(decode_segmentation(polygons, H, W), expected)
    else:
        assert reason_of(polygons) in ("mask_empty", "polygon_outside_image")


@given(st.lists(st.integers(-45, 95), min_size=6, max_size=6))
def test_polygons_partly_outside_are_drawn_as_by_pycocotools(polygon):
    expected = draw_with_pycocotools([polygon], H, W)
    if expected.any():
        assert np.array_equal(decode_segmentation([polygon], H, W), expected)
    else:
        assert reason_of([polygon]) in ("mask_empty", "polygon_outside_image")


@pytest.mark.parametrize("far", [1e3, 1e6, 1e12, 1e300, 1.7e308, 10**30])
def test_corners_however_far_out_are_clipped(far):
    # Everything to the right of x = 30.
    expected = np.zeros((H, W), dtype=bool)
    expected[:, 30:] = True
    polygon = [30, -far, far, -far, far, far, 30, far]
    assert np.array_equal(decode_segmentation([polygon], H, W), expected)


def test_a_slanted_edge_from_far_away_stays_where_it_is():
    # Below the line y = x, which passes through pixel corners: pixel (r, c) is in if r > c.
    polygon = [-1e9, -1e9, 1e9, 1e9, -1e9, 1e9]
    below = np.arange(H)[:, None] > np.arange(W)[None, :]
    mask = decode_segmentation([polygon], H, W)
    diagonal = np.arange(H)[:, None] == np.arange(W)[None, :]
    assert np.array_equal(mask & ~diagonal, below)


@pytest.mark.parametrize("far", [1e12, 1e300, 1.7e308])
def test_a_nearly_level_edge_crosses_the_image_at_its_middle(far):
    # From y = 0 far left to y = 40 far right: y = 20 all through the image.
    mask = decode_segmentation([[-far, 0, far, 40, -far, 40]], H, W)
    assert np.array_equal(mask, np.arange(H)[:, None] >= np.full(W, 20))


def test_a_part_outside_adds_nothing_to_a_part_inside():
    outside = [100, 10, 110, 10, 110, 20]
    assert np.array_equal(
        decode_segmentation([SQUARE, outside], H, W), decode_segmentation([SQUARE], H, W)
    )


def test_overlapping_parts_are_united():
    shifted = [value + 5 for value in SQUARE]
    mask = decode_segmentation([SQUARE, shifted], H, W)
    assert mask.sum() == 100 + 100 - 25


def test_more_parts_than_are_merged_at_once_are_all_there():
    parts = [[x, y, x + 1, y, x + 1, y + 1, x, y + 1] for x in range(0, W, 2) for y in range(H)]
    mask = decode_segmentation(parts, H, W)
    assert mask[:, ::2].all()
    assert not mask[:, 1::2].any()


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], "segmentation_empty"),
        ({}, "segmentation_empty"),
        (None, "segmentation_empty"),
        (0, "segmentation_malformed"),
        ("polygon", "segmentation_malformed"),
        (True, "segmentation_malformed"),
        (SQUARE, "segmentation_malformed"),
        ([[SQUARE]], "segmentation_malformed"),
        ([None], "segmentation_malformed"),
        ([{"x": 1}], "segmentation_malformed"),
        ([[]], "polygon_too_few_points"),
        ([[10, 10]], "polygon_too_few_points"),
        ([[10, 10, 20, 20]], "polygon_too_few_points"),
        ([SQUARE, [10, 10, 20, 20]], "polygon_too_few_points"),
        ([[*SQUARE, 5]], "polygon_odd_coordinates"),
        ([[10, None, 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[10, NAN, 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[10, INF, 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[10, -INF, 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[10, "10", 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[10, True, 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[10, [10], 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[10, 10**400, 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[10, 10j, 20, 10, 20, 20]], "polygon_not_a_number"),
        ([SQUARE, [10, NAN, 20, 10, 20, 20]], "polygon_not_a_number"),
        ([[70, 10, 80, 10, 80, 20]], "polygon_outside_image"),
        ([[-20, 10, -10, 10, -10, 20]], "polygon_outside_image"),
        ([[1e300, 10, 2e300, 10, 2e300, 20]], "polygon_outside_image"),
        # Passes the corner of the image; its bounding box does not show that.
        ([[-30, 5, 5, -30, -30, -30]], "polygon_outside_image"),
        ([[10, 10] * 5], "mask_empty"),
        ([[10, 10, 20, 20, 10, 10]], "mask_empty"),
        ({"size": [H, W], "counts": [H * W]}, "mask_empty"),
        ({"size": [W, H], "counts": [0, H * W]}, "rle_size_mismatch"),
        ({"size": [H, W], "counts": [0, H * W - 1]}, "rle_counts_sum"),
        ({"size": [H, W], "counts": [-1, H * W + 1]}, "rle_counts_malformed"),
        ({"counts": [0, H * W]}, "segmentation_malformed"),
        ({"size": [H, W]}, "segmentation_malformed"),
    ],
)
def test_bad_segmentations_are_refused_by_name(segmentation, reason):
    assert reason_of(segmentation) == reason


def test_the_bad_part_is_named():
    with pytest.raises(InputError, match="part 1 has 2 points"):
        decode_segmentation([SQUARE, [1, 1, 2, 2]], H, W)


def test_a_deeply_nested_list_is_refused_in_words():
    nested = SQUARE
    for _ in range(900):
        nested = [nested]
    assert reason_of(nested) == "segmentation_malformed"


@pytest.mark.parametrize(
    ("height", "width", "reason"),
    [
        (100_000, 100_000, "image_too_large"),
        (MAX_PIXELS + 1, 1, "image_too_large"),
        (0, 10, "image_size_malformed"),
        (-5, 10, "image_size_malformed"),
        (None, 10, "image_size_malformed"),
        (10.0, 10, "image_size_malformed"),
        ("10", 10, "image_size_malformed"),
        (True, 10, "image_size_malformed"),
    ],
)
def test_impossible_image_sizes_are_refused(height, width, reason):
    assert reason_of([SQUARE], height, width) == reason


def test_an_outline_of_endless_length_is_refused():
    zigzag = [value for i in range(MAX_OUTLINE_PIXELS // W + 1) for value in (i % 2 * W, i % H)]
    assert reason_of([zigzag]) == "polygon_too_complex"
    one_spot = [5] * (2 * MAX_OUTLINE_PIXELS + 2)
    assert reason_of([one_spot]) == "polygon_too_complex"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner, max_size=3)
    ),
    max_leaves=25,
)


@settings(max_examples=300)
@given(JSON, st.integers(1, 50), st.integers(1, 50))
def test_anything_json_can_hold_gives_a_mask_or_an_input_error(segmentation, height, width):
    try:
        mask = decode_segmentation(segmentation, height, width)
    except InputError:
        return
    assert mask.shape == (height, width)
    assert mask.dtype == bool
    assert mask.any()


@settings(max_examples=200)
@given(st.lists(st.lists(st.floats() | st.integers(), min_size=6, max_size=9), max_size=3))
def test_any_numbers_give_a_mask_or_an_input_error(polygons):
    try:
        mask = decode_segmentation(polygons, H, W)
    except InputError:
        return
    assert mask.any()


def test_every_form_of_a_mask_is_stored_alike():
    mask = decode_segmentation([SQUARE], H, W)
    rle = encode_rle(mask)
    counts = np.diff(np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=0, append=0)))
    first = int(np.flatnonzero(mask.ravel(order="F"))[0])
    # The background before, the runs between, the background after the last.
    listed = [first, *counts.tolist()]
    listed.append(H * W - sum(listed))
    forms = [
        [SQUARE],
        {"size": [H, W], "counts": listed},
        rle,
        {"size": [H, W], "counts": rle["counts"].encode()},
    ]
    assert [segmentation_to_rle(form, H, W) for form in forms] == [rle] * 4


def broken_annotations():
    shared = os.environ.get("SAMTOK_SHARED_DIR", Path(__file__).parents[3].parent / "shared")
    folder = Path(shared) / "data" / "broken"
    if not folder.is_dir():
        return []
    cases = json.loads((folder / "expected.json").read_text())["cases"]
    wanted = ("rle_", "polygon_", "empty_", "iscrowd", "one_", "full_", "multi_", "huge_")
    return [
        pytest.param(folder / case["case"] / case["annotation_file"], case, id=case["case"])
        for case in cases
        if case["case"].startswith(wanted)
    ]


BROKEN = broken_annotations()


@pytest.mark.skipif(not BROKEN, reason="the shared broken files are not here")
@pytest.mark.parametrize(("file", "case"), BROKEN)
def test_broken_files_keep_exactly_their_valid_annotations(file, case):
    content = json.loads(file.read_text())
    image = content["images"][0]
    kept = []
    for annotation in content["annotations"]:
        try:
            decode_segmentation(annotation["segmentation"], image["height"], image["width"])
        except InputError:
            continue
        kept.append(annotation["id"])
    assert kept == case["valid_annotation_ids"]
