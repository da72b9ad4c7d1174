"""Conversations and answers as they travel in OpenAI's form ↔ what the model takes and gives."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.serving import schemas
from pipelines.serving.calls import ChatCall, Decoded, SentImage
from pipelines.serving.codecs import read_image, read_masks, write_spans
from pipelines.serving.errors import refuse
from pipelines.serving.fetching import is_address
from pipelines.serving.limits import Limits
from samtok.answer_forms import label_spans
from samtok.masks import Rle
from samtok.mllm import GenerationConfig
from samtok.tasks.conversation import Message, Role
from samtok.words import MaskSpan

_MAX_SEED = 1 << 63


@dataclass(frozen=True, slots=True)
class _Turn:
    """A message whose masks are still masks."""

    role: Role
    pieces: tuple[str | None, ...] = field(repr=False)
    """Text; None where the next mask stands."""


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation as a client sent it, checked."""

    image: SentImage
    masks: tuple[Rle, ...] = field(repr=False)
    """Those among the messages, in order."""
    turns: tuple[_Turn, ...] = field(repr=False)
    config: GenerationConfig
    stop: tuple[str, ...]

    def to_call(self, words: Sequence[str]) -> ChatCall:
        """With words in the place of the masks."""
        rest = iter(words)
        messages = tuple(
            Message(turn.role, "".join(next(rest) if p is None else p for p in turn.pieces))
            for turn in self.turns
        )
        return ChatCall(self.image, messages, self.config, self.stop)


def list_image_urls(request: schemas.ChatRequest) -> list[str]:
    """Every image URL of a conversation, once; clients may send an image again with each turn.

    Raises:
        ApiError: ``too_many_images``, several addresses of the web; data URLs are compared later.
    """
    parts = [part for message in request.messages for part in _list_parts(message)]
    urls = {part.image_url.url: None for part in parts if isinstance(part, schemas.ImagePart)}
    if (number := sum(map(is_address, urls))) > 1:
        raise refuse("too_many_images", f"{number} addresses; a conversation is about one image")
    return list(urls)


def read_question(
    request: schemas.ChatRequest, images: Sequence[str | bytes], limits: Limits
) -> Question:
    """A conversation of a request.

    Args:
        request: as sent.
        images: those that :func:`list_image_urls` names, as ``read_image`` takes them.
        limits: of requests.

    Raises:
        ApiError: ``too_many_messages``, ``messages_out_of_order``, ``text_too_long``,
            ``image_missing``, ``too_many_images``, ``too_many_tokens``, or what
            :func:`~pipelines.serving.codecs.read_image` and ``read_masks`` raise.
    """
    turns = tuple(
        _Turn(_ROLES[message.role], _read_pieces(message)) for message in request.messages
    )
    _check_turns(turns, limits)
    parts = [part for message in request.messages for part in _list_parts(message)]
    image = _read_only_image(images, limits)
    masks = [part.mask for part in parts if isinstance(part, schemas.MaskPart)]
    rles = read_masks(masks, image.height, image.width, limits)
    stop = request.stop or ()
    return Question(
        image,
        rles,
        turns,
        _read_config(request, limits),
        (stop,) if isinstance(stop, str) else tuple(stop),
    )


def choose_decodable(spans: Sequence[MaskSpan], image: SentImage, limits: Limits) -> list[MaskSpan]:
    """The spans of an answer that get a mask: those with codes, as many as a call may have."""
    fits = min(limits.max_masks, limits.max_mask_pixels // (image.height * image.width))
    return [span for span in spans if span.codes][:fits]


def write_answer_masks(
    text: str, spans: Sequence[MaskSpan], decoded: Decoded | None, form: schemas.MaskFormat
) -> list[schemas.ChatMask]:
    """The masks beside an answer; see :func:`~pipelines.serving.codecs.write_spans`."""
    return [
        schemas.ChatMask(**dict(mask), label=label)
        for mask, label in zip(
            write_spans(spans, decoded, form), label_spans(text, spans), strict=True
        )
    ]


_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}

_Part = schemas.TextPart | schemas.ImagePart | schemas.MaskPart


def _list_parts(message: schemas.ChatMessage) -> Sequence[_Part]:
    content = message.content
    return [schemas.TextPart(type="text", text=content)] if isinstance(content, str) else content


def _read_pieces(message: schemas.ChatMessage) -> tuple[str | None, ...]:
    return tuple(
        part.text if isinstance(part, schemas.TextPart) else None
        for part in _list_parts(message)
        if not isinstance(part, schemas.ImagePart)
    )


def _check_turns(turns: Sequence[_Turn], limits: Limits) -> None:
    if len(turns) > limits.max_messages:
        raise refuse(
            "too_many_messages", f"{len(turns)} messages; at most {limits.max_messages} are read"
        )
    roles = [turn.role for turn in turns]
    spoken = roles[1:] if roles[0] == "system" else roles
    if spoken != (["user", "assistant"] * len(spoken))[: len(spoken)] or not len(spoken) % 2:
        raise refuse(
            "messages_out_of_order",
            "after at most one system message, user and assistant take turns, the user first and "
            f"last; received {', '.join(roles[:8])}{', …' if len(roles) > 8 else ''}",
        )
    length = sum(len(piece) for turn in turns for piece in turn.pieces if piece)
    if length > limits.max_text_characters:
        raise refuse(
            "text_too_long",
            f"{length} characters in all messages; at most {limits.max_text_characters} are read",
        )


def _read_only_image(images: Sequence[str | bytes], limits: Limits) -> SentImage:
    distinct = {image.sha256: image for image in (read_image(sent, limits) for sent in images)}
    if not distinct:
        raise refuse("image_missing", "no message of the user has an image_url part")
    if len(distinct) > 1:
        raise refuse("too_many_images", f"{len(distinct)} images; a conversation is about one")
    (image,) = distinct.values()
    return image


def _read_config(request: schemas.ChatRequest, limits: Limits) -> GenerationConfig:
    asked = request.max_completion_tokens or request.max_tokens or limits.max_new_tokens
    if asked > limits.max_new_tokens:
        raise refuse(
            "too_many_tokens",
            f"{asked} tokens asked for; at most {limits.max_new_tokens} are given",
        )
    return GenerationConfig(
        max_new_tokens=asked,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=secrets.randbelow(_MAX_SEED) if request.seed is None else request.seed,
    )
