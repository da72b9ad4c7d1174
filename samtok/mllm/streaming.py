"""Answers as they are being written: text for each token, and an end where the caller wants one.

Answers to several callers are written together, each from when its prompt comes until it ends.

Letters: S tokens so far, V rows of the vocabulary's table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

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
    seed_rows,
)
from samtok.mllm.model import Mllm
from samtok.mllm.text_writer import TextWriter


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
    """Answer one encoded prompt, and tell of each token; see :meth:`AnswerBatch.add`.

    Returns:
        The answer: `on_text`'s pieces joined.
    """
    with evaluating(mllm.model):
        batch = AnswerBatch(mllm)
        answer = batch.add(prompt, config, stop=stop, on_text=on_text)
        while len(batch):
            batch.step()
    return answer.result()


class AnswerBatch:
    """Answers that are written together, a token of each at a time.

    What an answer says does not depend on the others, but for rounding. Used by one thread.

    Args:
        mllm: model and processor; the model in evaluation mode.
    """

    def __init__(self, mllm: Mllm) -> None:
        self._mllm = mllm
        self._ends = list_ends(mllm.tokenizer)
        self._rows: list[_Row] = []
        self._state: DecodingState | None = None

    def __len__(self) -> int:
        """Answers that have not ended."""
        return len(self._rows)

    @torch.no_grad()
    def add(
        self,
        prompt: EncodedExample,
        config: GenerationConfig | None = None,
        *,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] = lambda _: None,
    ) -> Future[WrittenAnswer]:
        """Read a prompt; its answer is written from the next step on.

        Args:
            prompt: see :func:`~samtok.mllm.collate.encode_prompt`.
            config: how the answer is written.
            stop: texts, none empty; the answer ends before the first that appears.
            on_text: gets what is new after each token, ``""`` while a character or what may be a
                stop text is half written. What it raises ends this answer and is its outcome.

        Returns:
            Done when the answer has ended.
        """
        config = config or GenerationConfig()
        state = read_prompts(self._mllm, [prompt])
        if self._state is None:
            self._state = state
        else:
            self._state.join(state)
        row = _Row(
            writer=TextWriter(self._mllm.tokenizer, stop, on_text),
            processors=make_processors(self._mllm, config, seed_rows(config.seed, 1), len(prompt)),
            prompt_length=len(prompt),
            max_new_tokens=config.max_new_tokens,
        )
        self._rows.append(row)
        return row.outcome

    @torch.no_grad()
    def step(self) -> None:
        """Write a token of each answer.

        Raises:
            Exception: the model failed; that is also the outcome of all answers, and the batch is
                empty.
        """
        try:
            self._step()
        except Exception as error:
            for row in self._rows:
                row.outcome.set_exception(error)
            self._rows, self._state = [], None
            raise

    def _step(self) -> None:
        assert self._state is not None
        scores = self._state.logits.float()
        chosen = torch.cat(
            [row.choose(self._state.ids[[at]], scores[[at]]) for at, row in enumerate(self._rows)]
        )
        for row, token_id in zip(self._rows, chosen.tolist(), strict=True):
            row.take(token_id, is_end=token_id in self._ends)
        going_on = [at for at, row in enumerate(self._rows) if not row.outcome.done()]
        if len(going_on) < len(self._rows):
            self._rows = [self._rows[at] for at in going_on]
            if not going_on:
                self._state = None
                return
            kept = torch.tensor(going_on, device=self._mllm.device)
            self._state.keep(kept)
            chosen = chosen[kept]
        append_tokens(self._mllm, self._state, chosen)


@dataclass(slots=True, eq=False)
class _Row:
    """An answer that is being written."""

    writer: TextWriter
    processors: Sequence[LogitsProcessor]
    prompt_length: int
    max_new_tokens: int
    outcome: Future[WrittenAnswer] = field(default_factory=Future)
    num_tokens: int = 0
    """Written."""

    def choose(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The next token, int64 (1,), for all so far, (1, S) with padding, and scores, (1, V)."""
        own = ids[:, -(self.prompt_length + self.num_tokens) :]
        return choose_tokens(own, scores, self.processors)

    def take(self, token_id: int, *, is_end: bool) -> None:
        """Take the chosen token; done where it was the last."""
        self.num_tokens += 1
        try:
            self.writer.take(token_id)
            is_full = self.num_tokens == self.max_new_tokens
            if is_end or self.writer.is_stopped or is_full:
                self.writer.flush()
                ended = is_end or self.writer.is_stopped
                reason: Literal["stop", "length"] = "stop" if ended else "length"
                answer = WrittenAnswer(self.writer.text, reason, self.num_tokens)
                self.outcome.set_result(answer)
        except Exception as error:
            self.outcome.set_exception(error)
