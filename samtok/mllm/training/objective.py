"""The loss of supervised fine-tuning: negative log-likelihood of the answers' tokens.

Letters: B rows, S tokens, K answer tokens, V words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from samtok.mllm.collate import IGNORED_LABEL
from samtok.tokenizer.device import autocast


class AnswerLosses(NamedTuple):
    """Losses of the K answer tokens of a batch."""

    losses: torch.Tensor
    """float32, shape (K,), nats."""
    rows: torch.Tensor
    """int64, shape (K,): the row each is in."""
    token_ids: torch.Tensor
    """int64, shape (K,): which word each is."""


class AnswerObjective(nn.Module):
    """A model with its loss, so that data-parallel wrappers see one module.

    Args:
        model: of either family.
        dtype: autocast dtype of the forward pass; losses are float32.
    """

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self._dtype = dtype

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> AnswerLosses:
        """Losses of every token that has a label.

        The head sees those places alone: of a vocabulary of 150,000 words and an image of a
        thousand tokens it would otherwise compute a hundred times as much as is needed.

        Args:
            inputs: as :mod:`samtok.mllm.collate` makes them, on the model's device.
        """
        inputs = dict(inputs)
        labels = inputs.pop("labels")[:, 1:]
        has_label = labels != IGNORED_LABEL
        with autocast(labels.device, self._dtype):
            hidden = self.model.model(**inputs, use_cache=False).last_hidden_state
            logits = self.model.get_output_embeddings()(hidden[:, :-1][has_label])
        token_ids = labels[has_label]
        losses = F.cross_entropy(logits.float(), token_ids, reduction="none")
        return AnswerLosses(losses, has_label.nonzero()[:, 0], token_ids)


def count_answer_tokens(inputs: Mapping[str, torch.Tensor]) -> int:
    """K of a batch."""
    return int((inputs["labels"][:, 1:] != IGNORED_LABEL).sum())
