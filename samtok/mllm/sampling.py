"""Sampling that belongs to the row: the same draws whatever else is in the batch.

Letters: B rows, V rows of the vocabulary's table.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class TokenBan:
    """Logits processor of transformers: some tokens are never written.

    Args:
        token_ids: which.
    """

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._token_ids = torch.tensor(token_ids, dtype=torch.long)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, V), minus infinity for the banned."""
        self._token_ids = self._token_ids.to(scores.device)
        return scores.index_fill(1, self._token_ids, float("-inf"))


class SeededSampling:
    """Logits processor of transformers: the token with the highest score becomes a sample.

    Gumbel noise is added to the scores over the temperature, and the largest sum is distributed as
    a draw from their softmax (the Gumbel-max trick). Each row has its own generator. It goes last,
    before greedy search.

    Args:
        seeds: B, one for each row.
        temperature: above 0.
        top_p: tokens are drawn from the smallest set whose probabilities reach this; 1 is all.
    """

    def __init__(self, seeds: Sequence[int], *, temperature: float, top_p: float) -> None:
        self._seeds = seeds
        self._temperature = temperature
        self._top_p = top_p
        self._generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores with noise, float32 (B, V), for scores (B, V)."""
        if not self._generators:
            self._generators = [torch.Generator(scores.device).manual_seed(s) for s in self._seeds]
        scores = keep_top_p(scores.float() / self._temperature, self._top_p)
        noise = torch.stack(
            [
                torch.empty_like(row).exponential_(generator=generator)
                for row, generator in zip(scores, self._generators, strict=True)
            ]
        )
        return scores - noise.log()

    def keep_rows(self, rows: torch.Tensor) -> None:
        """Go on without the other rows.

        Args:
            rows: int64, positions among those of the last call, in order.
        """
        self._generators = [self._generators[row] for row in rows.tolist()]


def keep_top_p(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """Minus infinity outside the smallest set of tokens whose probabilities reach `top_p`.

    Args:
        scores: (B, V), logits.
        top_p: above 0, at most 1; the most likely token always stays.
    """
    if top_p >= 1:
        return scores
    ordered, order = scores.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    is_outside = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, before >= top_p)
    return scores.masked_fill(is_outside, float("-inf"))
