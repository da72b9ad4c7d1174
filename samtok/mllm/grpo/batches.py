"""Groups of answers become batches: a row holds a prompt once, and behind it all its answers.

Every answer sees the prompt and itself, and is blind to the others, so that a row gives what G rows
of prompt and answer would, for the price of one prompt.

Letters: B groups, G answers to each, N = sum of the groups' answers, S tokens of a row, L tokens of
an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from samtok.mllm.collate import EncodedExample, see_own_branch
from samtok.mllm.group_generation import SampledAnswer
from samtok.mllm.model import Mllm


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A prompt with its answers, and what they are worth."""

    prompt: EncodedExample
    answers: Sequence[SampledAnswer]
    """G, at least one."""
    advantages: torch.Tensor
    """float32, shape (G,)."""


class GroupBatch(NamedTuple):
    """A lane's part of a step: what one backward pass works on."""

    inputs: dict[str, torch.Tensor]
    """What the model takes: input_ids (B, S), position_ids (3, B, S), attention_mask bool
    (B, 1, S, S), pixel_values and image_grid_thw of the B images."""
    predictors: torch.Tensor
    """int64, shape (N, L): the place in the B S places whose state predicts each token."""
    tokens: torch.Tensor
    """int64, shape (N, L)."""
    mask: torch.Tensor
    """bool, shape (N, L): tokens of answers; the others are padding."""
    sampled_logprobs: torch.Tensor
    """float32, shape (N, L): what the sampler says of each token."""
    advantages: torch.Tensor
    """float32, shape (N,)."""
    num_groups: int
    """B."""
    num_tokens: int
    """Of all rows, padding not counted."""

    def to(self, device: torch.device) -> GroupBatch:
        """The batch on another device."""
        return self._replace(
            inputs={name: tensor.to(device) for name, tensor in self.inputs.items()},
            predictors=self.predictors.to(device),
            tokens=self.tokens.to(device),
            mask=self.mask.to(device),
            sampled_logprobs=self.sampled_logprobs.to(device),
            advantages=self.advantages.to(device),
        )


def make_group_batch(groups: Sequence[ScoredGroup], mllm: Mllm) -> GroupBatch:
    """Bring groups together, a row for each, padded on the right.

    Args:
        groups: at least one.
        mllm: that reads them.
    """
    rows = [_lay_out(group) for group in groups]
    length = max(len(row.input_ids) for row in rows)
    answers = [answer for group in groups for answer in group.answers]
    predictors = [
        places + number * length for number, row in enumerate(rows) for places in row.predictors
    ]
    pad_token_id = mllm.tokenizer.pad_token_id
    positions = pad_sequence([row.positions.T for row in rows], batch_first=True)
    segments = pad_sequence([row.segments for row in rows], batch_first=True, padding_value=-1)
    inputs = {
        "input_ids": pad_sequence(
            [row.input_ids for row in rows], batch_first=True, padding_value=pad_token_id
        ),
        "position_ids": positions.movedim(-1, 0),
        "attention_mask": see_own_branch(segments)[:, None],
        "pixel_values": torch.cat([group.prompt.pixel_values for group in groups]),
        "image_grid_thw": torch.cat([group.prompt.image_grid_thw for group in groups]),
    }
    lengths = torch.tensor([len(answer.token_ids) for answer in answers])
    return GroupBatch(
        inputs=inputs,
        predictors=pad_sequence(predictors, batch_first=True),
        tokens=pad_sequence([answer.token_ids for answer in answers], batch_first=True),
        mask=torch.arange(int(lengths.max())) < lengths[:, None],
        sampled_logprobs=pad_sequence([answer.logprobs for answer in answers], batch_first=True),
        advantages=torch.cat([group.advantages for group in groups]),
        num_groups=len(groups),
        num_tokens=sum(len(row.input_ids) for row in rows),
    )


class _Row(NamedTuple):
    """A prompt and its answers, each without its last token, which predicts nothing."""

    input_ids: torch.Tensor
    """(S,)."""
    positions: torch.Tensor
    """(3, S)."""
    segments: torch.Tensor
    """(S,): 0 for the prompt, then the number of the answer from 1."""
    predictors: list[torch.Tensor]
    """Of each answer, (L,)."""


def _lay_out(group: ScoredGroup) -> _Row:
    prompt = group.prompt
    ids, positions = [prompt.input_ids], [prompt.position_ids]
    segments, predictors = [torch.zeros(len(prompt), dtype=torch.long)], []
    start, next_position = len(prompt), int(prompt.position_ids.max()) + 1
    for number, answer in enumerate(group.answers, start=1):
        length = len(answer.token_ids) - 1
        ids.append(answer.token_ids[:-1])
        own = torch.arange(length)
        positions.append((own + next_position).expand(3, -1))
        segments.append(torch.full((length,), number))
        predictors.append(torch.cat([torch.tensor([len(prompt) - 1]), own + start]))
        start += length
    return _Row(torch.cat(ids), torch.cat(positions, dim=1), torch.cat(segments), predictors)
