"""Rows for the mask words that lie to each other as the codes they stand for.

Masks near each other in place, size and shape have codes whose vectors are near each other. Rows
that start out the same way let a model find a mask's word by its vector, where it would otherwise
learn 256 unrelated words of each book one by one.

Letters: K codes of a book, D channels of the codebooks, V words, C channels of the model.
"""

from __future__ import annotations

import numpy as np
import torch

from samtok.mllm.model import Mllm
from samtok.mllm.vocabulary import list_tables, mask_token_ids


@torch.no_grad()
def start_from_codebooks(mllm: Mllm, codebooks: np.ndarray, *, seed: int = 0) -> None:
    """Replace the rows of the code words by the codebooks, turned into the model's channels.

    Each book's vectors, less their mean, go through one random orthogonal map, the two books into
    different directions where 2 D <= C, and are scaled to the deviation of the other words' rows,
    around their mean. The rows of start and end stay.

    Args:
        mllm: with the mask words; changed in place.
        codebooks: float, shape (2, K, D), as ``SAMTok.copy_codebooks`` gives them.
        seed: of the map.
    """
    books = torch.from_numpy(codebooks).float()
    books = books - books.mean(1, keepdim=True)
    ids = mask_token_ids(mllm.tokenizer)
    for table in list_tables(mllm.model):
        other = torch.ones(len(table), dtype=torch.bool)
        other[torch.cat([ids.book_0, ids.book_1, torch.tensor([ids.start, ids.end])])] = False
        old = table[other.to(table.device)].float().cpu()
        turn = _draw_orthogonal(2 * books.shape[2], table.shape[1], seed)
        for rows, book, part in zip((ids.book_0, ids.book_1), books, turn.chunk(2), strict=True):
            turned = book @ part
            new = old.mean(0) + turned * (old.std() / turned.std())
            table[rows.to(table.device)] = new.to(table)


def _draw_orthogonal(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Orthonormal rows, or columns where there are more rows than columns."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.init.orthogonal_(torch.empty(rows, columns), generator=generator)
