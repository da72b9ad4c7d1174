"""Batches as a training step reads them."""

import numpy as np
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
