"""Conversations through one language model, many at a time, their text as it is written."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeAlias

from pipelines.image_decoding import decode_image
from pipelines.serving.calls import ChatCall, ChatEnd, ChatEvent, ChatText, Refused
from samtok.errors import InputError
from samtok.mllm import Mllm
from samtok.mllm.collate import EncodedExample, encode_prompt
from samtok.mllm.streaming import AnswerBatch, WrittenAnswer

Outcome: TypeAlias = ChatEnd | Refused

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Arrival:
    call: ChatCall
    on_text: Callable[[str], None]
    outcome: Future[Outcome] = field(default_factory=Future)


class ChatEngine:
    """A model and the thread that computes with it.

    A call joins the answers that are being written at their next token, and leaves when its own
    has ended, so that no answer waits for another to end.

    Args:
        mllm: any, in evaluation mode.
        max_prompt_tokens: conversations of more are refused.
        max_batch_size: answers written at the same time; further calls wait.
    """

    def __init__(self, mllm: Mllm, *, max_prompt_tokens: int, max_batch_size: int) -> None:
        self._mllm = mllm
        self._max_prompt_tokens = max_prompt_tokens
        self._max_batch_size = max_batch_size
        self._arrivals: SimpleQueue[_Arrival | None] = SimpleQueue()
        learned = mllm.mask_tokenizer
        self.mask_tokenizer = None if learned is None else learned.fingerprint
        """Fingerprint of the tokenizer whose words the model has learned, where it is known."""
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="chat", daemon=True)
        self._thread.start()

    def submit(self, call: ChatCall, on_text: Callable[[str], None]) -> Future[Outcome]:
        """Answer a call.

        Args:
            call: what to answer.
            on_text: gets the answer piece by piece, in the engine's thread; see
                :meth:`samtok.mllm.streaming.AnswerBatch.add`.

        Returns:
            Can be cancelled while the call waits.
        """
        arrival = _Arrival(call, on_text)
        self._arrivals.put(arrival)
        return arrival.outcome

    def close(self) -> None:
        """End the thread at the next token; calls that have no answer yet get none."""
        self._is_closed.set()
        self._arrivals.put(None)
        self._thread.join()

    def _work(self) -> None:
        batch = AnswerBatch(self._mllm)
        while not self._is_closed.is_set():
            has_room = len(batch) < self._max_batch_size
            if has_room and not (len(batch) and self._arrivals.empty()):
                if (arrival := self._arrivals.get()) is None:
                    return
                self._admit(arrival, batch)  # one at a time, between two tokens
            if not len(batch):
                continue
            try:
                batch.step()
            except Exception:  # told to all callers; the next ones may have better luck
                _log.exception("the model failed")

    def _admit(self, arrival: _Arrival, batch: AnswerBatch) -> None:
        outcome = arrival.outcome
        if not outcome.set_running_or_notify_cancel():
            return
        call = arrival.call
        try:
            prompt = self._read(call)
            if isinstance(prompt, Refused):
                outcome.set_result(prompt)
                return
            answer = batch.add(prompt, call.config, stop=call.stop, on_text=arrival.on_text)
        except Exception as error:
            outcome.set_exception(error)
            return
        num_tokens = len(prompt)
        answer.add_done_callback(lambda done: self._end(done, num_tokens, outcome))

    def _read(self, call: ChatCall) -> EncodedExample | Refused:
        image = call.image
        try:
            pixels = decode_image(image.content, "the image", (image.height, image.width))
            prompt = encode_prompt(call.messages, pixels, self._mllm.processor)
        except InputError as error:
            return Refused.of(error)
        if len(prompt) > self._max_prompt_tokens:
            return Refused(
                "prompt_too_long",
                f"the conversation takes {len(prompt)} tokens; at most {self._max_prompt_tokens} "
                "are read",
            )
        return prompt

    def _end(
        self, answer: Future[WrittenAnswer], num_prompt_tokens: int, outcome: Future[Outcome]
    ) -> None:
        if error := answer.exception():
            outcome.set_exception(error)
            return
        written = answer.result()
        outcome.set_result(
            ChatEnd(
                written.finish_reason, num_prompt_tokens, written.num_tokens, self.mask_tokenizer
            )
        )


async def stream_answer(engine: ChatEngine, call: ChatCall) -> AsyncGenerator[ChatEvent]:
    """One answer as events; pieces that are ready at the same time go together.

    Args:
        engine: computes in its thread.
        call: what to answer. Closing the generator takes it back: at once while it waits, else
            at its next token.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[str | None] = asyncio.Queue()
    left = threading.Event()

    def give(text: str) -> None:
        if left.is_set():
            raise _ClientLeftError
        if text:
            loop.call_soon_threadsafe(pieces.put_nowait, text)

    end = asyncio.wrap_future(engine.submit(call, give))
    end.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        while (piece := await pieces.get()) is not None:
            ready = [piece]
            while not pieces.empty() and (piece := pieces.get_nowait()) is not None:
                ready.append(piece)
            yield ChatText("".join(ready))
            if piece is None:
                break
        yield await end
    finally:
        left.set()
        end.cancel()


class _ClientLeftError(Exception):
    """Ends an answer that nobody waits for."""
