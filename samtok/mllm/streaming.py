"""One answer as it is being written: text for each token, and an end where the caller wants one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch

from samtok.mllm.collate import EncodedExample
from samtok.mllm.generation import GenerationConfig, generate_ids, list_ends
from samtok.mllm.model import Mllm

_HALF_A_CHARACTER: Final = "\ufffd"


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """An answer, and why it ended."""

    text: str
    """Without the word that ends a turn, and without the text that stopped it."""
    finish_reason: Literal["stop", "length"]
    """"stop": the turn was ended, or a stop text came; "length": no more tokens were allowed."""
    num_tokens: int
    """Written, the word that ends a turn included."""


def write_answer(
    mllm: Mllm,
    prompt: EncodedExample,
    config: GenerationConfig | None = None,
    *,
    stop: Sequence[str] = (),
    on_text: Callable[[str], None] = lambda _: None,
) -> WrittenAnswer:
    """Answer one encoded prompt, and tell of each token.

    Args:
        mllm: model and processor.
        prompt: see :func:`~samtok.mllm.collate.encode_prompt`.
        config: how the answer is written.
        stop: texts, none empty; the answer ends before the first that appears.
        on_text: gets what is new after each token, ``""`` while a character or what may be a stop
            text is half written. What it raises ends the generation and passes through.

    Returns:
        The answer: `on_text`'s pieces joined.
    """
    writer = _Writer(mllm.tokenizer, stop, on_text)
    (ids,) = generate_ids(mllm, [prompt], config, should_stop=writer.take)
    writer.flush()
    ended = writer.is_stopped or int(ids[-1]) in list_ends(mllm.tokenizer)
    return WrittenAnswer(writer.text, "stop" if ended else "length", len(ids))


class _Writer:
    """Tokens → text that can be given away.

    Token ids are kept until their bytes are whole characters, and characters until they cannot be
    the beginning of a stop text.
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

    def take(self, ids: torch.Tensor) -> bool:
        """Take the last of the tokens so far, int64 (S,); True ends the answer."""
        if (last := int(ids[-1])) not in self._ends:
            self._ids.append(last)
        decoded = self._tokenizer.decode(self._ids)
        if decoded.endswith(_HALF_A_CHARACTER):
            decoded = ""
        else:
            self._ids = []
        self._give(decoded)
        return self.is_stopped

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
