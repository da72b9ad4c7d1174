"""Pictures: colours where the masks are, and nothing changed elsewhere."""

import numpy as np
import pytest

from samtok.visualize import PanelItem, list_colors, overlay_masks, reconstruction_panel
from samtok.words import format_codes

IMAGE = np.full((20, 30, 3), 100, dtype=np.uint8)
MASKS = np.zeros((2, 20, 30), dtype=bool)
MASKS[0, 2:12, 2:12] = True
MASKS[1, 5:9, 5:9] = True


def make_item(num_masks=2, height=20, width=30):
    masks = np.zeros((num_masks, height, width), dtype=bool)
    masks[:, : height // 2, : width // 2] = True
    return PanelItem(
        image=np.full((height, width, 3), 200, dtype=np.uint8),
        masks=masks,
        reconstructions=~masks,
        words=format_codes([(number, -1 if number % 2 else number) for number in range(num_masks)]),
        iou=np.linspace(0, 1, num_masks),
    )


def test_colours_are_distinct_and_stay_when_more_are_asked_for():
    colors = list_colors(30)
    distances = np.abs(colors[:, None].astype(int) - colors[None]).sum(axis=2)
    assert distances[~np.eye(30, dtype=bool)].min() > 20
    assert np.array_equal(list_colors(5), colors[:5])
    assert list_colors(0).shape == (0, 3)


def test_pixels_outside_the_masks_are_untouched():
    before = IMAGE.copy()
    drawn = overlay_masks(IMAGE, MASKS)
    assert drawn.dtype == np.uint8
    assert (drawn[~MASKS.any(axis=0)] == 100).all()
    assert np.array_equal(IMAGE, before)


def test_a_mask_is_tinted_inside_and_solid_at_its_border():
    drawn = overlay_masks(IMAGE, MASKS[:1], alpha=0.25)
    color = list_colors(1)[0].astype(float)
    assert drawn[2, 7].tolist() == color.tolist()
    assert drawn[6, 6].astype(float) == pytest.approx(0.75 * 100 + 0.25 * color, abs=1)


def test_a_small_mask_is_drawn_over_a_large_one_whatever_their_order():
    for order in ([0, 1], [1, 0]):
        drawn = overlay_masks(IMAGE, MASKS[order])
        small = list_colors(2)[order.index(1)]
        assert drawn[5, 5].tolist() == small.tolist()


def test_no_masks_leave_the_image_as_it_is():
    assert np.array_equal(overlay_masks(IMAGE, MASKS[:0]), IMAGE)


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        overlay_masks(IMAGE, MASKS[:, :10])


def test_a_panel_has_a_row_for_each_image():
    one = reconstruction_panel([make_item()], tile_pixels=96)
    three = reconstruction_panel([make_item(), make_item(), make_item()], tile_pixels=96)
    assert one.mode == "RGB"
    assert three.width == one.width
    # A tile of 30 × 20 pixels is 96 × 64; the gap below it 12.
    assert three.height - one.height == 2 * (64 + 12)


def test_a_panel_shows_masks_and_reconstructions_side_by_side():
    item = make_item(num_masks=1, height=96, width=96)
    panel = np.asarray(reconstruction_panel([item], tile_pixels=96))
    red = list_colors(1)[0].astype(float)
    tinted = (0.5 * 200 + 0.5 * red).round()
    tiles = panel[-96 - 12 : -12]
    image, masks, rebuilt = (tiles[:, left : left + 96] for left in (12, 120, 228))
    assert (image == 200).all()
    assert np.abs(masks[24, 24] - tinted).max() <= 1
    assert (masks[72, 72] == 200).all()
    assert (rebuilt[24, 24] == 200).all()
    assert np.abs(rebuilt[72, 72] - tinted).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (10, 300), (300, 10), (700, 500)])
@pytest.mark.parametrize("num_masks", [0, 1, 40])
def test_any_size_and_number_of_masks_fits(size, num_masks):
    panel = reconstruction_panel([make_item(num_masks, *size)], tile_pixels=64)
    assert panel.width == 3 * (64 + 12) + 12 + 176 + 12


def test_a_panel_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        reconstruction_panel([])
