"""Groups of answers to the same prompts, sampled: each prompt is read once for its whole group.

Image and prompt go through the model once; their keys and values are then repeated for the answers
of the group, which part from there on. Rows that have ended leave the batch.

Letters: P prompts, G answers to each, B = P G rows, S tokens of a prompt, L tokens of an answer, V
rows of the vocabulary's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from samtok.mllm.collate import EncodedExample
from samtok.mllm.decoding import DecodingState, append_tokens, read_prompts
from samtok.mllm.generation import (
    GenerationConfig,
    LogitsProcessor,
    choose_tokens,
    evaluating,
    list_ends,
    make_processors,
)
from samtok.mllm.model import Mllm
from samtok.mllm.sampling import SeededSampling


@dataclass(frozen=True, slots=True)
class SampledAnswer:
    """An answer with how likely its tokens were."""

    token_ids: torch.Tensor
    """int64, shape (L,), on the CPU; the last ends the turn, unless the limit came first."""
    logprobs: torch.Tensor
    """float32, shape (L,), on the CPU: of each token under the model at the temperature of
    sampling (1 where that is 0), before `top_p` and the grammar take tokens away."""
    has_ended: bool
    """Whether it ended by itself."""


@torch.no_grad()
def generate_groups(
    mllm: Mllm,
    prompts: Sequence[EncodedExample],
    seeds: Sequence[Sequence[int]],
    config: GenerationConfig,
) -> list[list[SampledAnswer]]:
    """Answer each prompt several times, all in one batch.

    Args:
        mllm: model and processor.
        prompts: P, at least one, see :func:`~samtok.mllm.collate.encode_prompt`.
        seeds: P lists of G, one for each answer, which depends on nothing else but for rounding;
            G is the same for all prompts.
        config: how answers are written; its own seed does not count.

    Returns:
        P lists of G answers.
    """
    group_size = len(seeds[0])
    flat_seeds = [seed for group in seeds for seed in group]
    with evaluating(mllm.model):
        state = read_prompts(mllm, prompts, group_size)
        processors = make_processors(mllm, config, flat_seeds, state.ids.shape[1])
        answers = _decode(mllm, state, processors, config)
    return [answers[start : start + group_size] for start in range(0, len(answers), group_size)]


def _decode(
    mllm: Mllm,
    state: DecodingState,
    processors: Sequence[LogitsProcessor],
    config: GenerationConfig,
) -> list[SampledAnswer]:
    """Token by token, until every row has ended or reached the limit."""
    device, num_rows = mllm.device, len(state.ids)
    is_end_of = torch.tensor(list_ends(mllm.tokenizer), device=device)
    tokens = torch.zeros(num_rows, config.max_new_tokens, dtype=torch.long, device=device)
    logprobs = torch.zeros(num_rows, config.max_new_tokens, device=device)
    lengths = torch.full((num_rows,), config.max_new_tokens, device=device)
    has_ended = torch.zeros(num_rows, dtype=torch.bool, device=device)
    rows = torch.arange(num_rows, device=device)
    for step in range(config.max_new_tokens):
        scores = state.logits.float()
        chosen = choose_tokens(state.ids, scores, processors)
        tokens[rows, step] = chosen
        scaled = scores / (config.temperature or 1.0)
        logprobs[rows, step] = scaled.gather(1, chosen[:, None])[:, 0] - scaled.logsumexp(1)
        is_over = torch.isin(chosen, is_end_of)
        lengths[rows[is_over]] = step + 1
        has_ended[rows[is_over]] = True
        if bool(is_over.any()):
            going_on = (~is_over).nonzero()[:, 0]
            rows, chosen = rows[going_on], chosen[going_on]
            if not len(rows):
                break
            state.keep(going_on)
            for processor in processors:
                if isinstance(processor, SeededSampling):
                    processor.keep_rows(going_on)
        if step + 1 < config.max_new_tokens:
            append_tokens(mllm, state, chosen)
    return [
        SampledAnswer(ids[:length], own[:length], ended)
        for ids, own, length, ended in zip(
            tokens.cpu(), logprobs.cpu(), lengths.tolist(), has_ended.tolist(), strict=True
        )
    ]
