"""A dialogue about one image, masks written as words inside the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    """Who speaks; "system" only before all others, and in no conversation to learn from."""
    content: str
    """Plain text; mask words inside it. The image stands before the first user message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """User and assistant in turns, the assistant last.

    Raises:
        ValueError: turns are not taken, or words and ids differ in number.
    """

    conversation_id: str
    """Unique within an output."""
    task: str
    """One of `samtok.tasks.TASK_NAMES`."""
    messages: tuple[Message, ...]
    """At least two."""
    target_words: tuple[str, ...]
    """Mask spans that the last answer must contain, in order."""
    mask_ids: tuple[str, ...]
    """The masks they stand for."""

    def __post_init__(self) -> None:
        check_turns(self.messages)
        if len(self.target_words) != len(self.mask_ids):
            raise ValueError(
                f"{self.conversation_id} has {len(self.target_words)} target words for "
                f"{len(self.mask_ids)} masks"
            )


def check_turns(messages: Sequence[Message]) -> None:
    """Refuse what is no dialogue.

    Raises:
        ValueError: user and assistant do not take turns, the assistant last, or a turn is no text.
    """
    roles = [message.role for message in messages]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise ValueError(f"roles are {roles}; user and assistant take turns, the assistant last")
    if not all(isinstance(message.content, str) and message.content for message in messages):
        raise ValueError("a message has no text")
