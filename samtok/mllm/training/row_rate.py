"""A learning rate of their own for the rows of new words, in tables where the others are old."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from samtok.mllm.model import Mllm
from samtok.mllm.vocabulary import mask_token_ids


class RowRate:
    """Makes an optimizer's step on the mask words' rows longer or shorter.

    Args:
        tables: weights of embeddings and, where it has its own, the head; shape (V, C).
        mllm: whose tokenizer says which rows.
        rate: multiple of the step.
    """

    def __init__(self, tables: Sequence[torch.Tensor], mllm: Mllm, rate: float) -> None:
        self._tables = tables
        self._rate = rate
        ids = mask_token_ids(mllm.tokenizer)
        self._rows = torch.cat([torch.tensor([ids.start, ids.end]), ids.book_0, ids.book_1])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The context of one optimizer step."""
        if self._rate == 1:
            yield
            return
        rows = self._rows.to(self._tables[0].device)
        before = [table.detach()[rows] for table in self._tables]
        yield
        with torch.no_grad():
            for table, start in zip(self._tables, before, strict=True):
                table[rows] = torch.lerp(start, table[rows], self._rate)
