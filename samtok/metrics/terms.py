"""Words that mean the same: whether a caption names the right thing, and an answer agrees.

Wording varies where meaning does not: a *term* is a word or phrase that stands for a *meaning*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from samtok.answer_forms import normalize_phrase

_NEXT_THING = re.compile(r"(?<!^)\bthe\b", re.IGNORECASE)


class Terms:
    """Terms of one kind, e.g. of colours.

    Args:
        meanings: term → what it stands for, e.g. ``{"grey": "gray", "gray": "gray"}``; may be
            empty. Terms are found as whole words, whatever their case; longer ones first.
    """

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self._meanings = {normalize_phrase(term): meaning for term, meaning in meanings.items()}
        longest_first = sorted(self._meanings, key=lambda term: (-len(term), term))
        # Without terms the pattern must not match: the lookahead never holds.
        self._pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})\b")

    def find_in_subject(self, description: str) -> str | None:
        """What the first term of a description's subject stands for; None without any.

        The subject ends where the description turns to another thing, at its next ``the``: of
        ``the star left of the red circle`` it has no colour.
        """
        subject = _NEXT_THING.split(description.strip(), maxsplit=1)[0]
        match = self._pattern.search(normalize_phrase(subject))
        return self._meanings[match.group()] if match else None

    def canonicalize(self, text: str) -> str:
        """A text as `normalize_phrase` leaves it, with the meaning in place of every term."""
        return self._pattern.sub(
            lambda match: self._meanings[match.group()], normalize_phrase(text)
        )

    def agree(self, answer: str, reference: str) -> bool:
        """Whether two texts are the same but for case, punctuation, articles and terms."""
        return self.canonicalize(answer) == self.canonicalize(reference)
