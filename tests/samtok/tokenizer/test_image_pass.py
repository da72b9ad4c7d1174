"""Our pass over an image computes what sam2's own modules compute."""

import dataclasses

import pytest
import torch

from samtok.tokenizer import TrunkConfig
from samtok.tokenizer.network import TokenizerNetwork
from tests.small_tokenizer import SMALL_SHAPE

SMALL_TRUNK = {"embed_dim": 8, "stages": (1, 2, 2, 1), "window_spec": (8, 4, 4, 2)}


@pytest.mark.parametrize(
    "trunk",
    [
        {},
        {"num_heads": 2},
        {"global_att_blocks": (2, 4)},
        {"window_spec": (8, 4, 14, 7)},  # the published one, which pads here
    ],
    ids=["windows", "heads", "global", "padded"],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_maps_are_those_of_sam2(trunk, batch):
    shape = {"global_att_blocks": (4,), **SMALL_TRUNK, **trunk}
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL_SHAPE, trunk=TrunkConfig(**shape))
    sam2 = TokenizerNetwork(config).eval().sam2
    torch.nn.init.normal_(sam2.no_mem_embed)
    images = torch.randn(batch, 3, 64, 64, requires_grad=True)
    fine, middle, coarse = sam2.forward_image(images)["backbone_fpn"]
    theirs = (coarse + sam2.no_mem_embed.view(1, -1, 1, 1), fine, middle)
    ours = sam2.embed_image(images)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    gradients = [
        torch.autograd.grad(sum(level.square().sum() for level in levels), images)[0]
        for levels in (ours, theirs)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    assert all(level.is_contiguous() for level in ours)
