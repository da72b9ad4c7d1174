"""A frozen vision tower looks at each image once, and what is learned is the same."""

import dataclasses

import pytest
import torch

from samtok.mllm.training.vision_cache import cache_images
from tests.samtok.mllm.training.small_sft import (
    CONFIG,
    batch,
    build_mllm,
    build_trainer,
    run,
    weights,
)
from tests.small_mllm import FAMILIES
from tests.weights import find_distance

FROZEN = dataclasses.replace(CONFIG, freeze_vision=True, freeze_projector=True)


def count_images(visual):
    """List that grows by the number of patches whenever the tower itself looks."""
    looked = []
    visual.patch_embed.register_forward_hook(
        lambda module, inputs, output: looked.append(len(inputs[0]))
    )
    return looked


@pytest.mark.parametrize("family", FAMILIES)
def test_training_comes_to_the_same_with_each_image_seen_once(family):
    plain = build_trainer(FROZEN, build_mllm(family))
    cached = build_trainer(dataclasses.replace(FROZEN, vision_cache_mib=8), build_mllm(family))
    looked = count_images(cached.mllm.model.model.visual)

    def lanes(step):
        return [[0, 1, step % 3], [step % 3, 3]]

    start = weights(plain)
    run(plain, lanes)
    run(cached, lanes)

    assert find_distance(weights(cached), weights(plain)) < 1e-3 * find_distance(
        weights(plain), start
    )
    patches = [len(batch(cached.mllm, [index]).inputs["pixel_values"]) for index in range(4)]
    assert sum(looked) == sum(patches)


def features(visual, inputs, indexes, dtype=torch.float32):
    """What the tower makes of some images of a batch: pooled, and of deepstack."""
    grid = inputs["image_grid_thw"]
    images = inputs["pixel_values"].split(grid.prod(1).tolist())
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        made = visual(torch.cat([images[i] for i in indexes]), grid_thw=grid[indexes])
    return [made.pooler_output, *made.deepstack_features]


def test_the_least_recently_used_image_makes_room():
    mllm = build_mllm()
    visual, inputs = mllm.model.model.visual, batch(mllm, range(3)).inputs
    whole = features(visual, inputs, [0, 1, 2])
    sizes = [features(visual, inputs, [index]) for index in range(3)]
    num_bytes = [sum(level.nbytes for level in levels) for levels in sizes]
    cache_images(visual, num_bytes[0] + max(num_bytes[1:]))
    looked = count_images(visual)

    for indexes in ([0], [1], [0], [2], [0], [1, 0]):
        torch.testing.assert_close(
            features(visual, inputs, indexes),
            [torch.cat([sizes[index][level] for index in indexes]) for level in range(len(whole))],
        )

    patches = inputs["image_grid_thw"].prod(1).tolist()
    assert looked == [patches[0], patches[1], patches[2], patches[1]]


def test_what_was_computed_in_half_precision_is_not_taken_for_full():
    mllm = build_mllm()
    visual, inputs = mllm.model.model.visual, batch(mllm, range(2)).inputs
    exact = features(visual, inputs, [0, 1])
    cache_images(visual, 1 << 20)
    rough = features(visual, inputs, [0, 1], torch.bfloat16)
    assert not torch.equal(rough[0].float(), exact[0])
    torch.testing.assert_close(features(visual, inputs, [0, 1]), exact)
