"""Dialogues as pictures."""

import numpy as np
import pytest

from samtok.dialogue_panel import DialogueItem, dialogue_panel
from samtok.visualize import list_colors

ONE, TWO = (f"<|mt_start|><|mt_000{i}|><|mt_0256|><|mt_end|>" for i in (1, 2))
GREY = (190, 190, 190)


@pytest.fixture
def item():
    mask = np.zeros((32, 32), bool)
    mask[4:12, 4:12] = True
    return DialogueItem(
        title="referring segmentation",
        image=np.full((32, 32, 3), 255, np.uint8),
        turns=[("user", "Segment the cup."), ("assistant", f"{TWO}{ONE}")],
        masks={ONE: mask, TWO: ~mask},
    )


def count_pixels(panel, color, left):
    """Pixels of a colour to the right of the image."""
    return int((np.asarray(panel)[:, left:] == color).all(axis=2).sum())


def test_swatches_have_the_colours_of_the_masks(item):
    panel = dialogue_panel([item], tile_pixels=64)
    first, second = list_colors(2).tolist()
    assert count_pixels(panel, first, 100) > 50
    assert count_pixels(panel, second, 100) > 50
    tile = np.asarray(panel)[6 : 6 + 64, 12 : 12 + 64]
    # Named first is TWO, the surroundings: its colour lies on the image's edge.
    assert (tile[0, 0] == first).all()
    assert (tile[8, 8] == second).all()


def test_words_without_mask_are_grey_and_unnamed_masks_are_not_drawn(item):
    bare = DialogueItem(title="x", image=item.image, turns=[("assistant", ONE)], masks={})
    panel = dialogue_panel([bare], tile_pixels=64)
    assert count_pixels(panel, GREY, 100) > 50
    assert (np.asarray(panel)[6 : 6 + 64, 12 : 12 + 64] == 255).all()


def test_damaged_and_long_text(item):
    text = " ".join(["word"] * 4000) + "<|mt_start|><|mt_9999|> <|mt_0001|><|mt_end|>\n\nend"
    long = DialogueItem(title="x", image=item.image, turns=[("user", text)], masks=item.masks)
    assert dialogue_panel([long], tile_pixels=64).height < 600


def test_dialogues_stand_in_columns(item):
    one = dialogue_panel([item])
    three = dialogue_panel([item] * 3, num_columns=2)
    assert three.size == (2 * one.width, 2 * one.height)
    with pytest.raises(ValueError, match="at least one"):
        dialogue_panel([])
