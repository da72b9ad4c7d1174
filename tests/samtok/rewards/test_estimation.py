"""The table of expected IoU, estimated with a tokenizer whose masks can be foretold."""

import numpy as np
import pytest

from samtok.rewards.estimation import tally_overlaps


class RowTokenizer:
    """Stands in for SAMTok: codes (row, column) decode to 4 x 4 pixels there."""

    def embed(self, image):
        return image

    def encode(self, embeddings, masks):
        import torch

        return torch.tensor([np.argwhere(mask).min(axis=0).tolist() for mask in masks])

    def decode(self, embeddings, codes):
        import torch

        masks = torch.zeros(len(codes), 16, 16, dtype=torch.bool)
        for mask, (y, x) in zip(masks, codes.tolist(), strict=True):
            mask[y : y + 4, x : x + 4] = True
        return masks


def square(y, x):
    mask = np.zeros((16, 16), dtype=bool)
    mask[y : y + 4, x : x + 4] = True
    return mask


def test_masks_of_an_image_and_of_those_before_are_compared():
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    images = [(image, np.stack([square(0, 0), square(2, 0)])), (image, square(0, 2)[None])]
    table = tally_overlaps(RowTokenizer(), images).estimate("rows").table
    # First image: rows 0 and 2 share 8 of 24 pixels. Second: (0, 2) beside (0, 0) shares 8 of 24,
    # beside (2, 0) 4 of 28, and those two again 8 of 24. The mean of all off the diagonal is
    # (1/3 + 1/3 + 1/7) / 3 = 0.27, and counts once more in each cell.
    prior = (1 / 3 + 1 / 3 + 1 / 7) / 3
    assert table[0, 2] == pytest.approx((1 / 3 + 1 / 3 + 1 / 7 + prior) / 4)
    assert table[0, 0] == pytest.approx(1 / 3)
    assert table[5, 9] == pytest.approx(prior)
