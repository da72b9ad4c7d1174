"""Log-probabilities of sampled answers under a model that learns.

Letters: N answers, L tokens, K tokens that count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from samtok.grpo.logprobs import selected_logprobs
from samtok.mllm.grpo.batches import GroupBatch
from samtok.tokenizer.device import autocast


class AnswerLogprobs(NamedTuple):
    """Of a batch of groups."""

    logprobs: torch.Tensor
    """float32, shape (N, L); 0 where there is no token."""
    entropy_sum: torch.Tensor
    """Scalar, no gradient: over all tokens, nats."""


class PolicyObjective(nn.Module):
    """A model as a policy, so that data-parallel wrappers see one module.

    Args:
        model: of either family, with sdpa attention.
        dtype: autocast dtype of the forward pass; log-probabilities are float32.
        temperature: that answers are sampled with.
    """

    def __init__(self, model: Any, dtype: torch.dtype, temperature: float) -> None:
        super().__init__()
        self.model = model
        self._dtype = dtype
        self._temperature = temperature

    def forward(self, batch: GroupBatch) -> AnswerLogprobs:
        """Log-probabilities of every token, all answers of a group in one row.

        Args:
            batch: on the model's device.
        """
        with autocast(batch.tokens.device, self._dtype):
            hidden = self.model.model(**batch.inputs, use_cache=False).last_hidden_state
            scored = selected_logprobs(
                hidden.flatten(0, 1)[batch.predictors[batch.mask]],
                self.model.get_output_embeddings(),
                batch.tokens[batch.mask],
                temperature=self._temperature,
            )
        spread = torch.zeros_like(batch.sampled_logprobs).masked_scatter(
            batch.mask, scored.logprobs
        )
        return AnswerLogprobs(spread, scored.entropy.sum())
