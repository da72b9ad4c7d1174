"""Answers of a model: batches of images with prompts in, texts out.

A row's answer is its own: greedy, or drawn with a seed of the row, so that it does not depend on
what else is in the batch, but for rounding.

Letters: B rows, S tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from samtok.errors import ConfigError
from samtok.mllm.collate import EncodedExample, encode_prompt
from samtok.mllm.constraint import MaskSpanConstraint
from samtok.mllm.model import Mllm
from samtok.mllm.prompts import CONTROL_WORDS
from samtok.mllm.sampling import SeededSampling, TokenBan
from samtok.mllm.vocabulary import mask_token_ids
from samtok.tasks.conversation import Message
from samtok.tokenizer.image_transform import ImageInput
from samtok.words import MASK_START

LogitsProcessor: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Tokens so far, (B, S), and scores of the next, (B, V) → scores."""

_PLAIN: Final = {
    "do_sample": False,  # noise of SeededSampling makes the best token a sample
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 50,
}
"""Hub models bring settings of their own; a penalty of repetition would change masks' words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationConfig:
    """How answers are written."""

    max_new_tokens: int = 256
    """Most tokens of an answer, 1 or more."""
    temperature: float = 0.0
    """Of sampling; 0 takes the most likely token each time."""
    top_p: float = 1.0
    """Sampling draws from the smallest set of tokens whose probabilities reach this; above 0, at
    most 1 (all tokens)."""
    seed: int = 0
    """Of sampling; each row of a batch draws by itself, from this and its position. 0 or more."""
    constrain_masks: bool = True
    """Mask spans are always whole: start, a word of each book, end. Without effect on a vocabulary
    that has no mask words."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: a value is out of range.
        """
        checks = [
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < float("inf"), "0 (greedy) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("seed", self.seed >= 0, "0 or more"),
        ]
        for name, is_good, allowed in checks:
            if not is_good:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be {allowed}")


def generate(
    mllm: Mllm,
    images: Sequence[ImageInput],
    prompts: Sequence[str | Sequence[Message]],
    config: GenerationConfig | None = None,
) -> list[str]:
    """Answer prompts, all in one batch.

    Args:
        mllm: model and processor.
        images: B, one for each prompt.
        prompts: B; a text, or a conversation whose last turn is the user's.
        config: how answers are written.

    Returns:
        B answers, without the word that ends a turn; mask words and the marks of phrases stay.

    Raises:
        InputError: a prompt holds a control word, or an image cannot be used; see
            :func:`~samtok.mllm.collate.encode_prompt`.
        ValueError: images and prompts are not equally many.
    """
    encoded = [
        encode_prompt(_to_messages(prompt), image, mllm.processor)
        for prompt, image in zip(prompts, images, strict=True)
    ]
    return [decode_answer(mllm.tokenizer, ids) for ids in generate_ids(mllm, encoded, config)]


@torch.no_grad()
def generate_ids(
    mllm: Mllm,
    prompts: Sequence[EncodedExample],
    config: GenerationConfig | None = None,
) -> list[torch.Tensor]:
    """Answer encoded prompts, all in one batch.

    Args:
        mllm: model and processor.
        prompts: B, see :func:`~samtok.mllm.collate.encode_prompt`.
        config: how answers are written.

    Returns:
        B tensors of token ids, int64 on the CPU; the last id is the end of the turn, unless the
        limit came first.
    """
    if not prompts:
        return []
    config = config or GenerationConfig()
    ends = list_ends(mllm.tokenizer)
    batch = _pad_left(prompts, mllm)
    prompt_length = batch["input_ids"].shape[1]
    with evaluating(mllm.model):
        rows = mllm.model.generate(
            **batch,
            **_PLAIN,
            max_new_tokens=config.max_new_tokens,
            eos_token_id=ends,
            pad_token_id=mllm.tokenizer.pad_token_id,
            logits_processor=make_processors(
                mllm, config, seed_rows(config.seed, len(prompts)), prompt_length
            ),
            use_cache=True,
        )
    return [_cut(row[prompt_length:], ends) for row in rows.cpu()]


def make_processors(
    mllm: Mllm, config: GenerationConfig, seeds: Sequence[int], prompt_length: int
) -> list[LogitsProcessor]:
    """What turns scores into those that the best token is taken from.

    Args:
        mllm: model and processor.
        config: grammar and sampling. Control words are never written: a message that holds one is
            refused in the next round.
        seeds: B, one for each row.
        prompt_length: tokens before the answers, padding included.
    """
    processors: list[LogitsProcessor] = [TokenBan(list_control_ids(mllm.tokenizer))]
    if config.constrain_masks and MASK_START in mllm.tokenizer.get_vocab():
        constraint = MaskSpanConstraint(
            mask_token_ids(mllm.tokenizer),
            mllm.model.get_output_embeddings().weight.shape[0],
            max_length=prompt_length + config.max_new_tokens,
        )
        processors.append(constraint)
    if config.temperature > 0:
        sampling = SeededSampling(seeds, temperature=config.temperature, top_p=config.top_p)
        processors.append(sampling)
    return processors


def seed_rows(seed: int, num_rows: int) -> list[int]:
    """A seed for each row of a batch, from one for all."""
    return [
        int(np.random.SeedSequence([seed, row]).generate_state(1)[0]) for row in range(num_rows)
    ]


def _pad_left(prompts: Sequence[EncodedExample], mllm: Mllm) -> dict[str, torch.Tensor]:
    length = max(map(len, prompts))
    ids = torch.full((len(prompts), length), mllm.tokenizer.pad_token_id)
    attends = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = prompt.input_ids
        attends[row, length - len(prompt) :] = 1
    batch = {
        "input_ids": ids,
        "attention_mask": attends,
        # Rotary positions of the answer follow from where the image lies.
        "mm_token_type_ids": (ids == mllm.model.config.image_token_id).int(),
        "pixel_values": torch.cat([prompt.pixel_values for prompt in prompts]),
        "image_grid_thw": torch.cat([prompt.image_grid_thw for prompt in prompts]),
    }
    return {name: tensor.to(mllm.device) for name, tensor in batch.items()}


def _to_messages(prompt: str | Sequence[Message]) -> Sequence[Message]:
    return (Message("user", prompt),) if isinstance(prompt, str) else prompt


def decode_answer(tokenizer: Any, token_ids: torch.Tensor) -> str:
    """Text of an answer, int64 (L,), without the words that end a turn."""
    ends = list_ends(tokenizer)
    text: str = tokenizer.decode([each for each in token_ids.tolist() if each not in ends])
    return text


def list_ends(tokenizer: Any) -> list[int]:
    """Token ids that end a turn or a text."""
    return [tokenizer.eos_token_id, tokenizer.pad_token_id]


def choose_tokens(
    ids: torch.Tensor, scores: torch.Tensor, processors: Sequence[LogitsProcessor]
) -> torch.Tensor:
    """The next tokens, int64 (B,), for those so far, int64 (B, S), and float32 scores (B, V)."""
    for processor in processors:
        scores = processor(ids, scores)
    return scores.argmax(1)


def list_control_ids(tokenizer: Any) -> list[int]:
    """Words that a message must not hold, but for the ends."""
    known, ends = tokenizer.get_vocab(), list_ends(tokenizer)
    return [known[word] for word in CONTROL_WORDS if word in known and known[word] not in ends]


def _cut(ids: torch.Tensor, ends: Sequence[int]) -> torch.Tensor:
    is_end = torch.isin(ids, torch.tensor(ends))
    return ids[: int(is_end.int().argmax()) + 1] if bool(is_end.any()) else ids


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """No dropout, and a cache also where training recomputes activations."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
