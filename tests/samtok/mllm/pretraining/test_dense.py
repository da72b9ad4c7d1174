"""What stands in every cell, on a scene drawn by hand."""

import numpy as np
import pytest
import torch

from samtok.mllm.pretraining.dense import DenseHead, make_dense_targets
from samtok.scenes import Scene, SceneObject
from samtok.scenes.paint import COLORS, TEXTURES
from samtok.scenes.plan import list_categories


def thing(mask_id, category, color, texture, box):
    x0, y0, x1, y1 = box
    return SceneObject(
        mask_id=mask_id, category=category, color=color, texture=texture, box=box,
        area=(x1 - x0 + 1) * (y1 - y0 + 1), center=((x0 + x1) / 2, (y0 + y1) / 2),
        visible_share=1.0, is_thin=False, part_of=None, depth=0,
    )  # fmt: skip


@pytest.fixture
def scene():
    """A house over the left half of 32 x 32 pixels, a door of 4 x 4 pixels within it."""
    house = thing("0", "house", "red", "plain", (0, 0, 15, 31))
    door = thing("1", "door", "blue", "striped", (4, 8, 7, 11))
    masks = np.zeros((2, 32, 32), bool)
    masks[0, :, :16] = True
    masks[1, 8:12, 4:8] = True
    return Scene(
        scene_id="val-0-00000000", image=np.zeros((32, 32, 3), np.uint8), masks=masks,
        objects=(house, door), faint=(),
    )  # fmt: skip


def test_cells_hold_the_smallest_thing(scene):
    targets = make_dense_targets([scene])
    colors = [0, *COLORS]
    color = torch.zeros(1, 8, 8, dtype=torch.long)
    color[:, :, :4] = colors.index("red")
    color[:, 2, 1] = colors.index("blue")
    assert torch.equal(targets.color, color)
    assert targets.category[0, 2, 1] == list_categories().index("door")
    assert targets.category[0, 0, 0] == list_categories().index("house")
    assert targets.texture[0, 2, 1] == TEXTURES.index("striped")
    assert (targets.category[0, :, 4:] == -100).all()


def test_boxes_are_fractions_of_the_picture(scene):
    boxes = make_dense_targets([scene]).box[0]
    assert boxes[2, 1].tolist() == [4 / 32, 8 / 32, 8 / 32, 12 / 32]
    assert boxes[2, 2].tolist() == [0, 0, 0.5, 1]
    assert boxes[2, 4].tolist() == [0, 0, 0, 0]


def test_the_head_reads_each_cell_from_the_token_that_covers_it(scene):
    targets = make_dense_targets([scene])
    head = DenseHead(4)
    tokens = torch.zeros(4, 4, requires_grad=True)
    head(tokens, targets)["box"].backward()
    # Background has no box: the right half of the picture, tokens 1 and 3, learns nothing of it.
    learned = tokens.grad.abs().sum(1) > 0
    assert learned.tolist() == [True, False, True, False]


def test_right_cells_are_counted(scene):
    targets = make_dense_targets([scene])
    head = DenseHead(4)
    torch.nn.init.zeros_(head.linear.weight)
    bias = torch.zeros(16, len(COLORS) + 1 + len(list_categories()) + len(TEXTURES) + 4)
    bias[:, 1 + list(COLORS).index("red")] = 1.0
    bias[:, len(COLORS) + 1 + list_categories().index("door")] = 1.0
    head.linear.bias.data = bias.flatten()
    seen = head(torch.randn(4, 4), targets)
    assert float(seen["color_right"]) == pytest.approx(31 / 32)
    assert float(seen["category_right"]) == pytest.approx(1 / 32)
