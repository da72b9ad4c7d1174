"""Tokens of one answer as text that can be given away, and an end where a stop text comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from samtok.mllm.generation import list_ends

_HALF_A_CHARACTER: Final = "\ufffd"


class TextWriter:
    """Tokens → text that can be given away.

    Token ids are kept until their bytes are whole characters, and characters until they cannot be
    the beginning of a stop text.

    Args:
        tokenizer: of the model.
        stop: texts, none empty; the answer ends before the first that appears.
        on_text: gets what is new after each token, ``""`` while nothing can be given away.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], on_text: Callable[[str], None]) -> None:
        self._tokenizer = tokenizer
        self._ends = list_ends(tokenizer)
        self._stop = stop
        self._on_text = on_text
        self._ids: list[int] = []
        self._held = ""
        self.text = ""
        """Given away so far."""
        self.is_stopped = False
        """Whether a stop text came."""

    def take(self, token_id: int) -> None:
        """Take the next token."""
        if token_id not in self._ends:
            self._ids.append(token_id)
        decoded = self._tokenizer.decode(self._ids)
        if decoded.endswith(_HALF_A_CHARACTER):
            decoded = ""
        else:
            self._ids = []
        self._give(decoded)

    def flush(self) -> None:
        """Give away what is left."""
        if not self.is_stopped:
            self._give(self._tokenizer.decode(self._ids))
        if not self.is_stopped and self._held:
            self._release(len(self._held))

    def _give(self, decoded: str) -> None:
        self._held += decoded
        found = [at for text in self._stop if (at := self._held.find(text)) >= 0]
        self.is_stopped = bool(found)
        self._release(min(found) if found else len(self._held) - self._count_doubtful())

    def _release(self, num_characters: int) -> None:
        new, self._held = self._held[:num_characters], self._held[num_characters:]
        self.text += new
        self._on_text(new)

    def _count_doubtful(self) -> int:
        """Characters at the end that a stop text may begin with."""
        longest = max((len(text) - 1 for text in self._stop), default=0)
        lengths = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in lengths if self._ends_like_a_stop(n)), 0)

    def _ends_like_a_stop(self, length: int) -> bool:
        return any(text.startswith(self._held[-length:]) for text in self._stop)
