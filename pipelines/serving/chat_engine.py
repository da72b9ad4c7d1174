"""Conversations through one language model, an answer at a time, its text as it is written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor

from pipelines.image_decoding import decode_image
from pipelines.serving.calls import ChatCall, ChatEnd, ChatEvent, ChatText, Refused
from samtok.errors import InputError
from samtok.mllm import Mllm
from samtok.mllm.collate import encode_prompt
from samtok.mllm.streaming import write_answer


class ChatEngine:
    """A model; used by one thread at a time.

    Args:
        mllm: any.
        max_prompt_tokens: conversations of more are refused.
    """

    def __init__(self, mllm: Mllm, *, max_prompt_tokens: int) -> None:
        self._mllm = mllm
        self._max_prompt_tokens = max_prompt_tokens
        learned = mllm.mask_tokenizer
        self.mask_tokenizer = None if learned is None else learned.fingerprint
        """Fingerprint of the tokenizer whose words the model has learned, where it is known."""

    def run(self, call: ChatCall, on_text: Callable[[str], None]) -> ChatEnd | Refused:
        """Answer one call.

        Args:
            call: what to answer.
            on_text: gets the answer piece by piece, see :func:`samtok.mllm.streaming.write_answer`.
        """
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
        answer = write_answer(self._mllm, prompt, call.config, stop=call.stop, on_text=on_text)
        return ChatEnd(answer.finish_reason, len(prompt), answer.num_tokens, self.mask_tokenizer)


async def stream_answer(
    engine: ChatEngine, thread: ThreadPoolExecutor, call: ChatCall
) -> AsyncGenerator[ChatEvent]:
    """One answer as events; pieces that are ready at the same time go together.

    Args:
        engine: computes in `thread`.
        thread: one worker, which calls wait for.
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

    end = loop.run_in_executor(thread, engine.run, call, give)
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
    """Ends a generation that nobody waits for."""
