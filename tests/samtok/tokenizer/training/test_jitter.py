"""Masks a pixel off: what can become of one, and that prompts and boxes go with it."""

import numpy as np
import torch

from samtok.tokenizer.training import collate_masks
from samtok.tokenizer.training.jitter import jitter_masks, jitter_prompts
from tests.samtok.tokenizer.training.tiny_training import SHAPE, rectangles


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn_from(rows, count=120):
    """All that becomes of a mask, as strings of its rows."""
    mask = torch.tensor([[cell == "#" for cell in row] for row in rows])
    changed = jitter_masks(mask.expand(count, -1, -1), seeded())
    return {" ".join("".join(".#"[cell] for cell in row) for row in one) for one in changed.int()}


def test_a_mask_moves_grows_or_shrinks_by_a_pixel():
    assert drawn_from(["......", ".###..", ".###..", ".###..", "......", "......"]) == {
        ".###.. .###.. .###.. ...... ...... ......",
        "...... ...... .###.. .###.. .###.. ......",
        "...... ###... ###... ###... ...... ......",
        "...... ..###. ..###. ..###. ...... ......",
        ".###.. #####. #####. #####. .###.. ......",
        "...... ...... ..#... ...... ...... ......",
    }


def test_what_leaves_the_image_is_lost_but_never_all_of_it():
    """Up and left are out of the picture, and nothing is left of a pixel that shrinks."""
    assert drawn_from(["#..", "..."]) == {"#.. ...", "... #..", ".#. ...", "##. #.."}


def test_prompts_and_boxes_are_those_of_the_moved_masks():
    batch = rectangles(0)
    moved = jitter_prompts(batch, seeded(3))
    generator = seeded(3)
    masks = [jitter_masks(target.bool(), generator).numpy() for target in batch.targets]
    expected = collate_masks(masks, SHAPE.image_size)
    torch.testing.assert_close(moved.mask_prompts, expected.mask_prompts)
    torch.testing.assert_close(moved.boxes, expected.boxes)
    assert not torch.equal(moved.mask_prompts, batch.mask_prompts)
    assert all(np.array_equal(a, b) for a, b in zip(moved.targets, batch.targets, strict=True))
