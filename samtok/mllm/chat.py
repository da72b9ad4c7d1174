"""Ask about an image, and get the answer with its masks.

Letters: M masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from samtok.errors import ConfigError
from samtok.mllm.generation import GenerationConfig, generate
from samtok.mllm.model import MaskTokenizerReference, Mllm
from samtok.tasks.conversation import Message
from samtok.tokenizer import ImageEmbeddings, SAMTok
from samtok.tokenizer.image_transform import ImageInput, load_rgb
from samtok.words import MaskSpan, parse


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a model said, and the masks in it."""

    text: str
    """As the model wrote it, mask words included."""
    spans: tuple[MaskSpan, ...]
    """M, where in the text the masks stand, in order; spans that cannot be read are left out."""
    masks: torch.Tensor
    """bool, shape (M, H, W), at the image's size, on the CPU."""


def chat(
    mllm: Mllm,
    tokenizer: SAMTok,
    image: ImageInput,
    prompt: str,
    *,
    history: Sequence[Message] = (),
    config: GenerationConfig | None = None,
) -> ChatAnswer:
    """Ask about an image.

    Args:
        mllm: model and processor.
        tokenizer: whose words the model has learned.
        image: what it is about.
        prompt: what the user says; it may hold mask words.
        history: earlier turns about the same image, user and model in turn.
        config: how the answer is written.

    Raises:
        ConfigError: the model has learned the words of another tokenizer.
        InputError: a message holds a control word, or the image cannot be used.
    """
    check_mask_tokenizer(mllm.mask_tokenizer, tokenizer)
    (text,) = generate(mllm, [image], [(*history, Message("user", prompt))], config)
    return read_answer(text, tokenizer, image)


def check_mask_tokenizer(learned: MaskTokenizerReference | None, tokenizer: SAMTok) -> None:
    """Refuse a tokenizer whose words mean other masks than a model has learned.

    Raises:
        ConfigError: they are another tokenizer's.
    """
    if learned is not None and learned.fingerprint != tokenizer.fingerprint:
        raise ConfigError(
            f"the model speaks the words of {learned.name!r} (weights {learned.fingerprint[:12]}), "
            f"but the tokenizer has weights {tokenizer.fingerprint[:12]}; load the one it learned"
        )


def read_answer(
    text: str, tokenizer: SAMTok, image_or_embeddings: ImageInput | ImageEmbeddings
) -> ChatAnswer:
    """Find the masks in what a model wrote and decode them.

    Args:
        text: an answer.
        tokenizer: whose words they are.
        image_or_embeddings: the image, or its embeddings (one image).
    """
    spans = tuple(span for span in parse(text) if span.codes is not None)
    if not spans:  # no backbone pass for a text alone
        masks = torch.zeros(0, *_find_size(image_or_embeddings), dtype=torch.bool)
        return ChatAnswer(text, spans, masks)
    codes = torch.tensor([span.codes for span in spans])
    return ChatAnswer(text, spans, tokenizer.decode(image_or_embeddings, codes))


def _find_size(image_or_embeddings: ImageInput | ImageEmbeddings) -> tuple[int, int]:
    if isinstance(image_or_embeddings, ImageEmbeddings):
        return image_or_embeddings.sizes[0]
    height, width, _ = load_rgb(image_or_embeddings).shape
    return height, width
