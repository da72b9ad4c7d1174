"""POST /v1/chat/completions: words for the masks of a question, an answer, masks for its words."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from fastapi.responses import Response, StreamingResponse

from pipelines.serving import schemas
from pipelines.serving.calls import (
    ChatCall,
    ChatEnd,
    ChatEvent,
    ChatModel,
    ChatText,
    DecodeCall,
    EncodeCall,
    Refused,
    Tokenizer,
)
from pipelines.serving.chat_codec import (
    Question,
    choose_decodable,
    list_image_urls,
    read_question,
    write_answer_masks,
)
from pipelines.serving.errors import ApiError, check_answer, failed, overloaded, refuse
from pipelines.serving.fetching import ImageFetcher
from pipelines.serving.figures import Figures
from pipelines.serving.limits import Limits
from samtok.words import format_codes, parse

STREAM_TYPE: Final = "text/event-stream"

_log = logging.getLogger("samtok.serving")

_DONE: Final = "data: [DONE]\n\n"
_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Head:
    """What every part of one answer says of itself."""

    id: str
    created: int
    model: str


class ChatRoute:
    """Answers conversations.

    Args:
        model_id: name of the model in requests; None where none is served.
        limits: of requests.
        tokenizer: turns masks of a question into words, and words of an answer into masks.
        model: answers; None where none is served.
        fetcher: brings images whose address a question has.
        figures: counts tokens.
    """

    def __init__(
        self,
        model_id: str | None,
        limits: Limits,
        tokenizer: Tokenizer,
        model: ChatModel | None,
        fetcher: ImageFetcher,
        figures: Figures,
    ) -> None:
        self._model_id = model_id
        self._limits = limits
        self._tokenizer = tokenizer
        self._model = model
        self._fetcher = fetcher
        self._figures = figures

    async def complete(self, request: schemas.ChatRequest) -> schemas.ChatCompletion | Response:
        """A conversation about an image → what the model says, and the masks in it."""
        model = self._find_model(request.model)
        began = time.monotonic()
        images = [await self._fetcher.find(url) for url in list_image_urls(request)]
        question = await asyncio.to_thread(read_question, request, images, self._limits)
        call = question.to_call(await self._encode(question))
        events = model.stream(call)
        first = await _read_first(events)
        self._figures.first_token_seconds.observe(time.monotonic() - began)
        head = _Head(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), request.model)
        rest = _prepend(first, events)
        if request.stream:
            return StreamingResponse(
                self._stream(head, request, call, rest),
                media_type=STREAM_TYPE,
                headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
            )
        return await self._collect(head, request, call, rest)

    def _find_model(self, asked: str) -> ChatModel:
        if self._model is None:
            raise refuse(
                "model_not_found", "no language model is served here, only a tokenizer", status=404
            )
        if asked != self._model_id:
            raise refuse(
                "model_not_found",
                f"the model served here is {self._model_id!r}, as /v1/models says",
                status=404,
            )
        return self._model

    async def _encode(self, question: Question) -> list[str]:
        if not question.masks:
            return []
        encode = EncodeCall(question.image, question.masks, reconstruct=False)
        encoded = check_answer(await self._tokenizer.encode(encode))
        self._figures.count_call(encoded.served)
        return format_codes(encoded.codes)

    async def _collect(
        self,
        head: _Head,
        request: schemas.ChatRequest,
        call: ChatCall,
        events: AsyncGenerator[ChatEvent],
    ) -> schemas.ChatCompletion:
        pieces = []
        async with aclosing(events):
            async for event in events:
                if isinstance(event, ChatText):
                    pieces.append(event.text)
        end = _check_end(event)
        text = "".join(pieces)
        masks = await self._find_masks(text, call, end, request.mask_format)
        message = schemas.Answer(content=text, masks=masks)
        return schemas.ChatCompletion(
            id=head.id,
            created=head.created,
            model=head.model,
            choices=[schemas.Choice(message=message, finish_reason=end.finish_reason)],
            usage=self._count(end),
        )

    async def _stream(
        self,
        head: _Head,
        request: schemas.ChatRequest,
        call: ChatCall,
        events: AsyncGenerator[ChatEvent],
    ) -> AsyncIterator[str]:
        """Server-sent events; an error after the first is an event too."""
        try:
            async with aclosing(events):
                async for chunk in self._write_chunks(head, request, call, events):
                    yield _to_event(chunk)
        except ApiError as error:
            yield _to_event(error.body())
        except Exception:
            _log.exception("answer %s failed", head.id)
            yield _to_event(failed().body())
        yield _DONE

    async def _write_chunks(
        self,
        head: _Head,
        request: schemas.ChatRequest,
        call: ChatCall,
        events: AsyncGenerator[ChatEvent],
    ) -> AsyncIterator[dict[str, Any]]:
        text = ""
        yield _write_chunk(head, schemas.Delta(role="assistant", content=""))
        async for event in events:
            if isinstance(event, ChatText):
                text += event.text
                yield _write_chunk(head, schemas.Delta(content=event.text))
        end = _check_end(event)
        masks = await self._find_masks(text, call, end, request.mask_format)
        yield _write_chunk(head, schemas.Delta(masks=masks), end.finish_reason)
        usage = self._count(end)
        if request.stream_options and request.stream_options.include_usage:
            chunk = schemas.ChatChunk(
                id=head.id, created=head.created, model=head.model, choices=[], usage=usage
            )
            yield chunk.model_dump()

    async def _find_masks(
        self, text: str, call: ChatCall, end: ChatEnd, form: schemas.MaskFormat | None
    ) -> list[schemas.ChatMask]:
        spans = parse(text)
        chosen = choose_decodable(spans, call.image, self._limits) if form else []
        if not chosen:
            return write_answer_masks(text, spans, None, "rle")
        codes = tuple(span.codes for span in chosen if span.codes)
        decoded = check_answer(await self._tokenizer.decode(DecodeCall(call.image, codes, None)))
        self._figures.count_call(decoded.served)
        if end.mask_tokenizer not in (None, decoded.served.fingerprint):
            # Replicas of both are replaced one by one; for a while their versions may differ.
            raise overloaded(
                "the model writes the words of another tokenizer than is served",
                retry_after=_RETRY_SECONDS,
            )
        return await asyncio.to_thread(write_answer_masks, text, spans, decoded, form or "rle")

    def _count(self, end: ChatEnd) -> schemas.Usage:
        self._figures.count_tokens(end)
        return schemas.Usage(
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            total_tokens=end.prompt_tokens + end.completion_tokens,
        )


async def _read_first(events: AsyncGenerator[ChatEvent]) -> ChatEvent:
    """The first event, while an error can still be an answer of its own."""
    first = await anext(events)
    if isinstance(first, Refused):
        raise refuse(first.reason, first.detail)
    return first


async def _prepend(first: ChatEvent, rest: AsyncGenerator[ChatEvent]) -> AsyncGenerator[ChatEvent]:
    async with aclosing(rest):
        yield first
        async for event in rest:
            yield event


def _check_end(event: ChatEvent) -> ChatEnd:
    assert isinstance(event, ChatEnd), "an answer has an end"
    return event


def _write_chunk(
    head: _Head, delta: schemas.Delta, finish_reason: schemas.FinishReason | None = None
) -> dict[str, Any]:
    chunk = schemas.ChatChunk(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=[schemas.ChunkChoice(delta=delta, finish_reason=finish_reason)],
    )
    written = chunk.model_dump(exclude={"usage"})
    shown = written["choices"][0]["delta"]
    written["choices"][0]["delta"] = {k: v for k, v in shown.items() if v is not None}
    return written


def _to_event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
