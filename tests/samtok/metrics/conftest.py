"""Tokenizers for metrics: one of random weights, and one whose codes can be foretold."""

import numpy as np
import pytest
import torch

from samtok import SAMTok


@pytest.fixture(scope="session")
def random_tokenizer(small_tokenizer_folder):
    return SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")


class CornerTokenizer:
    """Stands in for SAMTok on images up to 256 pixels wide: the codes of a mask are the row and
    column of its first pixel, and a pair decodes to a square of 4 pixels there; one code to the
    whole row. Its embedding is the image."""

    def embed(self, image):
        return image

    def encode(self, embeddings, masks):
        firsts = [np.argwhere(mask).min(axis=0) for mask in masks]
        # The image takes part: its first pixel's red is added to the second code.
        shift = int(embeddings[0, 0, 0])
        return torch.tensor([[int(y), int(x) + shift] for y, x in firsts]).reshape(-1, 2)

    def decode(self, embeddings, codes):
        masks = torch.zeros(len(codes), *embeddings.shape[:2], dtype=torch.bool)
        for mask, (y, x) in zip(masks, torch.as_tensor(codes).tolist(), strict=True):
            if x < 0:
                mask[y] = True
            else:
                mask[y : y + 4, x : x + 4] = True
        return masks


@pytest.fixture
def corner_tokenizer():
    return CornerTokenizer()
