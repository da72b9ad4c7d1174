"""Rows for the mask words that lie to each other as the codes they stand for.

Masks near each other in place, size and shape have codes whose vectors are near each other. Rows
that start out the same way let a model find a mask's words by their vectors, where it would
otherwise learn 256 unrelated words of each book.

Letters: K codes of a book, D channels of the codebooks, V old rows, C channels of the model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def make_codebook_rows(codebooks: np.ndarray, old_rows: Tensor, *, seed: int = 0) -> Tensor:
    """The codebooks, turned into a model's channels.

    The vectors of a book, less their mean, go through a random orthogonal map, both books into
    different directions where 2 D <= C. They are scaled to the deviation of the old rows, and lie
    around these rows' mean.

    Args:
        codebooks: float, shape (2, K, D), as ``SAMTok.copy_codebooks`` gives them.
        old_rows: float32, shape (V, C): of the words that the model knows.
        seed: of the map.

    Returns:
        float32, shape (2, K, C).
    """
    books = torch.tensor(codebooks, dtype=torch.float32)
    books = books - books.mean(1, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    maps = torch.empty(2 * books.shape[2], old_rows.shape[1])
    turned = books @ torch.stack(nn.init.orthogonal_(maps, generator=generator).chunk(2))
    deviation = (old_rows - old_rows.mean(0)).std()
    return old_rows.mean(0) + turned * deviation / turned.std((1, 2), keepdim=True)
