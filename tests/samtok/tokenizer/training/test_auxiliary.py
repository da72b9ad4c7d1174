"""The heads that help a model start from nothing."""

import torch

from samtok.tokenizer.network import ImageFeatures
from samtok.tokenizer.training.auxiliary import ObjectMapHead, draw_object_maps


def test_object_map_shows_the_smallest_mask_of_each_cell():
    """A 4 x 4 mask with a 1 x 1 one in its corner; a third mask on another image."""
    masks = torch.zeros(3, 8, 8)
    masks[0, 0:4, 0:4] = 1
    masks[1, 0, 0] = 1
    masks[2, 7, 7] = 1
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.125, 0.125], [0.875] * 2 + [1.0] * 2])
    covered, offsets = draw_object_maps(masks, boxes, torch.tensor([0, 0, 1]), 2)
    assert covered[0].sum() == 16
    assert covered[1].sum() == 1
    centre = 0.0625  # of cell (0, 0), in fractions
    assert offsets[0, :, 0, 0].tolist() == [-centre, -centre, centre, centre]
    assert offsets[0, :, 3, 1].tolist() == [-0.1875, -0.4375, 0.3125, 0.0625]
    assert torch.all(offsets[:, :, 5, 5] == 0)


def test_object_map_can_be_learned_from_the_maps():
    torch.manual_seed(0)
    masks = (torch.rand(3, 8, 8) > 0.5).float()
    features = ImageFeatures(
        torch.randn(2, 32, 2, 2), torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4)
    )
    boxes, index = torch.rand(3, 4), torch.tensor([0, 1, 1])
    head = ObjectMapHead(32)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    losses = []
    for _ in range(80):
        loss = head(features, masks, boxes, index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
