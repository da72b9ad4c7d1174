"""What a training step reads: several conversations as one input of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from samtok.mllm.collate import EncodedExample, collate, pack
from samtok.mllm.model import Mllm


class SftBatch(NamedTuple):
    """A lane's part of a step: what one backward pass works on."""

    inputs: dict[str, torch.Tensor]
    """What the model takes, and labels; see :mod:`samtok.mllm.collate`."""
    num_conversations: int
    """In it."""
    num_tokens: int
    """Of them all, padding not counted."""

    def to(self, device: torch.device) -> SftBatch:
        """The batch on another device."""
        return self._replace(inputs={k: v.to(device) for k, v in self.inputs.items()})


def make_batch(
    encoded: Sequence[EncodedExample], mllm: Mllm, *, capacity: int | None = None
) -> SftBatch:
    """Bring conversations together.

    Args:
        encoded: at least one; those that share an image are packed.
        mllm: that reads them.
        capacity: pack them into rows of at most so many tokens, each blind to the others; None
            gives each a row of its own, padded.

    Raises:
        ValueError: one is longer than `capacity`, or shares an image and is not packed.
    """
    pad_token_id = mllm.tokenizer.pad_token_id
    if capacity is None:
        inputs = collate(encoded, pad_token_id=pad_token_id)
    else:
        attention = mllm.model.config._attn_implementation
        inputs = pack(encoded, capacity=capacity, pad_token_id=pad_token_id, attention=attention)
    num_conversations = sum(example.num_conversations for example in encoded)
    return SftBatch(inputs, num_conversations, sum(map(len, encoded)))
