"""Conversations as a model reads them: the text of its chat template, in pieces.

A piece is either read or answered; training looks at answers only, and generation begins where an
answer would. The pieces are cut by rendering a conversation up to each turn, so nothing is searched
for in the text, and whatever a template writes around the turns is found by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from samtok.errors import ConfigError, InputError
from samtok.tasks.conversation import Message

CONTROL_WORDS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Words that build turns and places of images in every Qwen-VL; no message may hold them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a rendered conversation."""

    text: str
    """As the chat template writes it; the image is one placeholder."""
    is_answer: bool
    """Whether the model writes it: an assistant's text and the word that ends the turn."""


def to_chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages in the form chat templates take; the image stands before the user's first text.

    Raises:
        InputError: ``control_word_in_text``: a message would end its turn or claim an image.
    """
    for message in messages:
        found = [word for word in CONTROL_WORDS if word in message.content]
        if found:
            raise InputError(
                "control_word_in_text",
                f"a message of the {message.role} holds {found[0]!r}, which only the chat template "
                "may write; remove it",
            )
    chat: list[dict[str, Any]] = [
        {"role": message.role, "content": [{"type": "text", "text": message.content}]}
        for message in messages
    ]
    first = next(turn for turn in chat if turn["role"] == "user")
    first["content"].insert(0, {"type": "image"})
    return chat


def render_prompt(processor: Any, messages: Sequence[Message]) -> str:
    """Text of a conversation up to where the next answer begins.

    Args:
        processor: its chat template is used.
        messages: the last one is the user's.

    Raises:
        InputError: see :func:`to_chat`.
    """
    return _render(processor, to_chat(messages), opens_answer=True)


def split_answers(processor: Any, messages: Sequence[Message]) -> list[Piece]:
    """A whole conversation, cut at the beginning and end of every answer.

    Args:
        processor: its chat template is used.
        messages: user and assistant in turns.

    Returns:
        Pieces that joined are the rendered conversation. An answer begins after the opening of its
        turn and ends with the word that ends the turn.

    Raises:
        InputError: see :func:`to_chat`.
        ConfigError: the template writes an earlier turn otherwise once a later one follows.
    """
    chat = to_chat(messages)
    whole = _render(processor, chat)
    pieces, done = [], 0
    for turn, message in enumerate(messages):
        if message.role != "assistant":
            continue
        opening = _render(processor, chat[:turn], opens_answer=True)
        closing = _render(processor, chat[: turn + 1]).rstrip()
        if not (whole.startswith(closing) and closing.startswith(opening)):
            raise ConfigError(
                f"the chat template rewrites turn {turn} once later turns follow, so answers "
                "cannot be told from prompts; use a template that leaves turns as they are"
            )
        pieces.append(Piece(whole[done : len(opening)], is_answer=False))
        pieces.append(Piece(closing[len(opening) :], is_answer=True))
        done = len(closing)
    if done < len(whole):
        pieces.append(Piece(whole[done:], is_answer=False))
    return pieces


def _render(processor: Any, chat: list[dict[str, Any]], *, opens_answer: bool = False) -> str:
    return processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=opens_answer)
