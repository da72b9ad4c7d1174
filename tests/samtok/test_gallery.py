"""Masks close up: the right cut, and misses in their colours."""

import numpy as np
import pytest

from samtok.gallery import GalleryItem, find_window, mask_gallery

GREY = np.full((60, 80, 3), 120, dtype=np.uint8)


def rectangle(rows, columns):
    mask = np.zeros((60, 80), dtype=bool)
    mask[rows, columns] = True
    return mask


def item(mask, reconstruction):
    return GalleryItem(image=GREY, mask=mask, reconstruction=reconstruction, caption="IoU 0.50 cup")


def has_color(picture, color):
    return (np.asarray(picture).reshape(-1, 3) == color).all(axis=1).any()


MASK = rectangle(slice(20, 30), slice(30, 50))


def test_a_cut_is_square_with_a_margin_around_the_mask():
    # 20 pixels and 30 % of them on each side are 32: columns 24 to 56, rows 9 to 41 about 25.
    assert find_window(MASK, 60, 80) == (slice(9, 41), slice(24, 56))


def test_a_cut_stays_inside_the_image():
    corner = rectangle(slice(55, 60), slice(0, 3))
    assert find_window(corner, 60, 80) == (slice(44, 60), slice(0, 16))
    everything = np.ones((60, 80), dtype=bool)
    assert find_window(everything, 60, 80) == (slice(0, 60), slice(0, 80))


def test_misses_and_additions_have_colours_of_their_own():
    same = mask_gallery({"best": [item(MASK, MASK)]})
    missed = mask_gallery({"worst": [item(MASK, MASK & rectangle(slice(20, 25), slice(0, 80)))]})
    added = mask_gallery({"worst": [item(MASK, MASK | rectangle(slice(30, 33), slice(30, 40)))]})
    magenta, cyan = (255, 0, 190), (0, 225, 255)
    assert [has_color(p, magenta) for p in (same, missed, added)] == [False, True, False]
    assert [has_color(p, cyan) for p in (same, missed, added)] == [False, False, True]


def test_columns_for_groups_and_rows_for_masks():
    one = mask_gallery({"worst": [item(MASK, MASK)]}, tile_pixels=50)
    two = mask_gallery(
        {"worst": [item(MASK, MASK)] * 2, "best": [item(MASK, MASK)]}, tile_pixels=50
    )
    assert one.mode == "RGB"
    assert two.height - one.height == 50 + 18 + 8  # tile, caption and gaps
    assert two.width - one.width == 3 * 50 + 2 * 4 + 28


def test_a_gallery_needs_a_mask():
    with pytest.raises(ValueError, match="at least one mask"):
        mask_gallery({"worst": []})
