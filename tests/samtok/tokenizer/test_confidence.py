import math

import numpy as np
import pytest
import torch

from samtok import SAMTok
from samtok.scenes import generate_scene
from samtok.tokenizer.confidence import expected_overlap


def logit(p):
    return math.log(p / (1 - p))


def test_it_is_the_overlap_with_the_probabilities():
    logits = torch.tensor([[[logit(0.9), logit(0.8)], [logit(0.3), logit(0.1)]]])
    (got,) = expected_overlap(logits, 0.5)
    assert got == pytest.approx((0.9 + 0.8) / (1 + 1 + 0.3 + 0.1))


def test_certain_masks_have_1_and_empty_ones_0():
    certain = torch.tensor([[[50.0, -50.0]], [[-50.0, -50.0]]])
    assert expected_overlap(certain, 0.5).tolist() == pytest.approx([1, 0])


def test_masks_that_fit_are_surer_than_masks_of_chance():
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    good, chance = [], []
    for index in range(6):
        scene = generate_scene(index, split="test", seed=0)
        masks = np.asarray(scene.masks)
        embeddings = tokenizer.embed(scene.image)
        codes = tokenizer.encode(embeddings, masks[masks.any(axis=(1, 2))])
        drawn = torch.randint(0, 256, codes.shape, generator=torch.Generator().manual_seed(index))
        masks_of, sure = tokenizer.decode_with_confidence(embeddings, codes)
        assert torch.equal(masks_of, tokenizer.decode(embeddings, codes))
        good += sure.tolist()
        chance += tokenizer.decode_with_confidence(embeddings, drawn)[1].tolist()
    assert np.mean(good) > np.mean(chance) + 0.1
