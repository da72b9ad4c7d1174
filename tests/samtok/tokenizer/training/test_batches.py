"""Batches as a training step reads them."""

import numpy as np
import pytest
import torch

from samtok.tokenizer.training import TrainingSample, collate_masks, collate_samples
from tests.samtok.tokenizer.training.tiny_training import rectangles


def test_layout():
    batch = rectangles(0)
    assert batch.images.shape == (4, 64, 64, 3)
    assert batch.mask_prompts.shape == (8, 16, 16)
    assert batch.image_index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch.boxes.min() >= 0
    assert batch.boxes.max() < 1
    assert [t.shape for t in batch.targets] == [(2, 40, 48)] * 4
    assert (batch.num_images, batch.num_masks) == (4, 8)


def test_boxes_are_fractions_of_each_image():
    """Columns 10..19 of 40 and rows 5..14 of 20; the last pixel is inside."""
    mask = np.zeros((1, 20, 40), dtype=bool)
    mask[0, 5:15, 10:20] = True
    boxes = collate_masks([mask], 64).boxes
    torch.testing.assert_close(boxes, torch.tensor([[0.25, 0.25, 0.475, 0.7]]))


def test_images_of_different_sizes_share_a_batch():
    samples = [
        TrainingSample(np.zeros((h, w, 3), dtype=np.uint8), np.ones((n, h, w), dtype=bool))
        for h, w, n in ((30, 50, 1), (64, 64, 3))
    ]
    batch = collate_samples(samples, 64)
    assert batch.images.shape == (2, 64, 64, 3)
    assert batch.image_index.tolist() == [0, 1, 1, 1]
    torch.testing.assert_close(batch.mask_prompts, torch.ones(4, 16, 16))


def test_half_a_batch_has_means_of_four_and_all_targets():
    batch = rectangles(0)
    half = batch.halve()
    assert half.images.shape == (4, 32, 32, 3)
    assert half.mask_prompts.shape == (8, 8, 8)
    for row, column in ((0, 0), (11, 7), (31, 31)):
        square = batch.images[1, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].double()
        assert half.images[1, row, column].tolist() == pytest.approx(
            square.mean((0, 1)).tolist(), abs=0.5
        )
    square = batch.mask_prompts[3, 6:8, 10:12]
    assert half.mask_prompts[3, 3, 5] == pytest.approx(float(square.mean()), abs=1e-6)
    assert half.targets is batch.targets
    assert half.boxes is batch.boxes


def test_cached_maps_have_one_size():
    with pytest.raises(ValueError, match="cached maps cannot be halved"):
        collate_masks([np.ones((1, 8, 8), dtype=bool)], 64).halve()
