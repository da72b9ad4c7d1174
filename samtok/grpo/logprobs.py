"""Log-probabilities of given tokens without the whole table of logits in memory.

A vocabulary has 150,000 words: logits of a batch of 8,000 tokens are 4.9 GB, their softmax and
gradient as much again. Here they are made a few tokens at a time, and made anew in the backward
pass.

Letters: T tokens, C channels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

DEFAULT_CHUNK: Final = 512


class TokenLogprobs(NamedTuple):
    """Of T tokens."""

    logprobs: torch.Tensor
    """Float32, shape (T,): log-probability of each token."""
    entropy: torch.Tensor
    """Float32, shape (T,), in nats, no gradient: of the distribution it was drawn from."""


def selected_logprobs(
    hidden: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    token_ids: torch.Tensor,
    *,
    temperature: float = 1.0,
    chunk_size: int = DEFAULT_CHUNK,
) -> TokenLogprobs:
    """Log-probabilities of tokens, given the hidden states that predict them.

    At most `chunk_size` rows of logits exist at a time, with and without gradient; the head runs
    twice where there is one.

    Args:
        hidden: shape (T, C): the state before each token; of padding, leave it out before.
        head: hidden states (n, C) → logits (n, V), e.g. ``model.lm_head``.
        token_ids: int64, shape (T,).
        temperature: logits are divided by it, as they were for sampling; above 0.
        chunk_size: tokens at a time, 1 or more.

    Raises:
        ValueError: temperature is not above 0, or the shapes do not fit.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    if hidden.ndim != 2 or token_ids.shape != hidden.shape[:1]:
        raise ValueError(
            f"hidden is {tuple(hidden.shape)} and token_ids {tuple(token_ids.shape)}; expected "
            "(T, C) and (T,)"
        )

    def of_chunk(states: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = head(states)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        normalizer = logits.logsumexp(dim=1)
        chosen = logits.gather(1, ids[:, None]).squeeze(1) - normalizer
        with torch.no_grad():
            entropy = torch.special.entr(torch.softmax(logits, dim=1)).sum(dim=1)
        return chosen, entropy

    chunks = zip(hidden.split(chunk_size), token_ids.split(chunk_size), strict=True)
    parts = [checkpoint(of_chunk, *chunk, use_reentrant=False) for chunk in chunks]
    return TokenLogprobs(
        torch.cat([logprobs for logprobs, _ in parts]), torch.cat([entropy for _, entropy in parts])
    )
