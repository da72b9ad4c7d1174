"""Text whose pieces point at masks: the form in which scenes hand over their language.

One `SceneText` is one entry of a corpus row's `texts`. What each kind looks like:

- ``referring``: an expression. One span, role phrase, over all of it; its masks are the target:
  one, several, or none.
- ``caption``: sentences. A phrase span for every group of things named.
- ``relation``: one statement. Spans subject, predicate (without masks) and object.
- ``region``: a description of one mask. A phrase span for it; mentions of its neighbours.
- ``rounds``: instructions of a conversation, one a line. An instruction span over each line with
  the masks it asks for; a mention span over the words that refer back to masks of earlier lines.
- ``question``: two lines. A question span, and an answer span with the masks it rests on; a mention
  span over the words of the question that name what it is about, where that is one thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["referring", "caption", "relation", "region", "rounds", "question"]
Role: TypeAlias = Literal[
    "phrase", "mention", "subject", "predicate", "object", "instruction", "question", "answer"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Some characters of a text, and the masks they speak of."""

    start: int
    """Position of the first character."""
    end: int
    """Position after the last character."""
    mask_ids: tuple[str, ...]
    """`SceneObject.mask_id` of the masks; may be empty."""
    role: Role
    """What the characters do; see the module's list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneText:
    """Something said about a scene."""

    kind: Kind
    """What sort of text; see the module's list."""
    text: str
    """English."""
    mask_ids: tuple[str, ...]
    """Masks of all spans but mentions, each once, in order of appearance."""
    spans: tuple[Span, ...]
    """By start; a mention may lie within an instruction or a question, others do not overlap."""


class TextWriter:
    """Builds a text from left to right and remembers which characters speak of which masks."""

    def __init__(self) -> None:
        self._text = ""
        self._spans: list[Span] = []

    def write(self, text: str) -> TextWriter:
        """Add words that point at nothing; returns itself."""
        self._text += text
        return self

    def point(self, text: str, mask_ids: Iterable[str], role: Role) -> TextWriter:
        """Add words that point at masks; returns itself."""
        start = len(self._text)
        self._text += text
        self._spans.append(
            Span(start=start, end=len(self._text), mask_ids=tuple(mask_ids), role=role)
        )
        return self

    def enclose(self, start: int, mask_ids: Iterable[str], role: Role) -> TextWriter:
        """Make everything from `start` on a span, around the spans within; returns itself."""
        span = Span(start=start, end=len(self._text), mask_ids=tuple(mask_ids), role=role)
        within = next((i for i, s in enumerate(self._spans) if s.start >= start), len(self._spans))
        self._spans.insert(within, span)
        return self

    def __len__(self) -> int:
        return len(self._text)

    def finish(self, kind: Kind) -> SceneText:
        """Give the text, its lines and sentences beginning with capitals unless it is referring."""
        text = self._text if kind in ("referring", "region") else _capitalize(self._text)
        named = (m for span in self._spans if span.role != "mention" for m in span.mask_ids)
        return SceneText(
            kind=kind, text=text, mask_ids=tuple(dict.fromkeys(named)), spans=tuple(self._spans)
        )


def _capitalize(text: str) -> str:
    """Sentences begin with a capital; no character moves."""
    letters = list(text)
    for position, letter in enumerate(letters):
        if position == 0 or text[position - 1] == "\n" or text[position - 2 : position] == ". ":
            letters[position] = letter.upper()
    return "".join(letters)
