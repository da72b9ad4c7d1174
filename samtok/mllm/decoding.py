"""Rows of a batch that are written token by token: they can leave it, and others join.

Letters: B rows, S tokens so far, padding on the left included, P prompts, V rows of the
vocabulary's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from samtok.mllm.collate import EncodedExample
from samtok.mllm.model import Mllm


@dataclass(slots=True)
class DecodingState:
    """What the next tokens follow from."""

    ids: torch.Tensor
    """int64, (B, S)."""
    attends: torch.Tensor
    """int64, (B, S): 1 for tokens, 0 for padding."""
    positions: torch.Tensor
    """int64, (B,): of the next token, the same in all three rows of M-RoPE."""
    logits: torch.Tensor
    """(B, V), of the next token."""
    cache: Any
    """Keys and values of transformers, a layer's of shape (B, heads, S, channels)."""

    def keep(self, rows: torch.Tensor) -> None:
        """Go on without the other rows, nor the padding that only they needed.

        Args:
            rows: int64, positions of those that stay, at least one.
        """
        self.positions, self.logits = self.positions[rows], self.logits[rows]
        ids, attends = self.ids[rows], self.attends[rows]
        first = int(attends.argmax(dim=1).min())
        self.ids, self.attends = ids[:, first:], attends[:, first:]
        for layer in self.cache.layers:
            layer.keys = layer.keys[rows, :, first:]
            layer.values = layer.values[rows, :, first:]

    def join(self, other: DecodingState) -> None:
        """Go on with the rows of another state behind the own ones."""
        length = max(self.ids.shape[1], other.ids.shape[1])
        self.ids = _join(self.ids, other.ids, length)
        self.attends = _join(self.attends, other.attends, length)
        self.positions = torch.cat([self.positions, other.positions])
        self.logits = torch.cat([self.logits, other.logits])
        for layer, joining in zip(self.cache.layers, other.cache.layers, strict=True):
            layer.keys = _join(layer.keys, joining.keys, length, dim=2)
            layer.values = _join(layer.values, joining.values, length, dim=2)


def read_prompts(
    mllm: Mllm, prompts: Sequence[EncodedExample], rows_per_prompt: int = 1
) -> DecodingState:
    """Each prompt through the model once, then one row for each of its answers.

    Args:
        mllm: model and processor.
        prompts: P, at least one, see :func:`~samtok.mllm.collate.encode_prompt`.
        rows_per_prompt: answers to each.
    """
    length = max(map(len, prompts))
    ids = torch.full((len(prompts), length), mllm.tokenizer.pad_token_id)
    attends = torch.zeros_like(ids)
    positions = torch.zeros(3, *ids.shape, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = prompt.input_ids
        attends[row, length - len(prompt) :] = 1
        positions[:, row, length - len(prompt) :] = prompt.position_ids
    inputs = {
        "input_ids": ids,
        "attention_mask": attends,
        "position_ids": positions,
        "pixel_values": torch.cat([prompt.pixel_values for prompt in prompts]),
        "image_grid_thw": torch.cat([prompt.image_grid_thw for prompt in prompts]),
    }
    inputs = {name: tensor.to(mllm.device) for name, tensor in inputs.items()}
    output = mllm.model.model(**inputs, use_cache=True)
    logits = mllm.model.get_output_embeddings()(output.last_hidden_state[:, -1])
    output.past_key_values.batch_repeat_interleave(rows_per_prompt)
    next_positions = positions.amax(dim=(0, 2)) + 1
    return DecodingState(
        ids=inputs["input_ids"].repeat_interleave(rows_per_prompt, dim=0),
        attends=inputs["attention_mask"].repeat_interleave(rows_per_prompt, dim=0),
        positions=next_positions.to(mllm.device).repeat_interleave(rows_per_prompt),
        logits=logits.repeat_interleave(rows_per_prompt, dim=0),
        cache=output.past_key_values,
    )


def append_tokens(mllm: Mllm, state: DecodingState, chosen: torch.Tensor) -> None:
    """Read a token of each row, int64 (B,)."""
    column = chosen[:, None]
    state.ids = torch.cat([state.ids, column], dim=1)
    state.attends = torch.cat([state.attends, torch.ones_like(column)], dim=1)
    output = mllm.model.model(
        input_ids=column,
        attention_mask=state.attends,
        position_ids=state.positions[None, :, None].expand(3, -1, 1),
        past_key_values=state.cache,
        use_cache=True,
    )
    state.positions = state.positions + 1
    state.logits = mllm.model.get_output_embeddings()(output.last_hidden_state[:, 0])


def _join(one: torch.Tensor, other: torch.Tensor, length: int, dim: int = 1) -> torch.Tensor:
    """Rows of both, zeros before those that are shorter than `length` in `dim`."""
    after = [0, 0] * (one.dim() - 1 - dim)
    padded = [F.pad(each, [*after, length - each.shape[dim], 0]) for each in (one, other)]
    return torch.cat(padded)
