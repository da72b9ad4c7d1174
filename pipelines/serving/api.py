"""The routes, and the application that is made of them; knows no Ray."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from pipelines.serving import schemas
from pipelines.serving.calls import (
    ChatModel,
    DecodeCall,
    Decoded,
    EncodeCall,
    Encoded,
    ModelFacts,
    SentImage,
    Tokenizer,
)
from pipelines.serving.chat_route import STREAM_TYPE, ChatRoute
from pipelines.serving.codecs import (
    check_num_masks,
    read_boxes,
    read_image,
    read_masks,
    read_points,
    write_box,
    write_mask,
    write_spans,
)
from pipelines.serving.errors import ApiError, check_answer, failed, overloaded, refuse
from pipelines.serving.fetching import ImageFetcher
from pipelines.serving.figures import Figures
from pipelines.serving.gate import Gate
from pipelines.serving.limits import Limits
from pipelines.serving.web_page import add_web_page
from samtok.masks import decode_rle, rle_area
from samtok.words import MaskSpan, format_codes, parse

_READY_SECONDS: Final = 5.0
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": schemas.ErrorResponse} for status in (401, 408, 413, 422, 429, 500, 503, 504)
}
_DESCRIPTION: Final = """\
Regions of images as two words of a language model's vocabulary, and back.

With keys, every call but /healthz and /readyz carries `Authorization: Bearer KEY`. Answers that are
no result have the form `{"error": {"type", "message", "code"}}`; after 429 and 503, `Retry-After`
says when to try again.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiSettings:
    """What the routes need to know."""

    model_id: str
    """Name of the tokenizer in /v1/models."""
    chat_model_id: str | None = None
    """Name of the language model there; None where none is served."""
    limits: Limits = field(default_factory=Limits)
    image_origins: tuple[str, ...] = ()
    """Where images are fetched from when a request names their address; see
    :func:`~pipelines.serving.fetching.check_origins`."""
    key_digests: tuple[str, ...] = ()
    """sha256 of the keys that are let in, in hexadecimal; empty lets in everybody."""


def build_app(
    settings: ApiSettings, tokenizer: Tokenizer, chat_model: ChatModel | None = None
) -> ASGIApp:
    """The service as an ASGI application.

    Args:
        settings: of the routes.
        tokenizer: answers calls to encode and decode.
        chat_model: answers conversations; None where no language model is served.
    """
    figures = Figures()
    app = FastAPI(
        title="SAMTok",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,  # the pages behind these take their scripts from elsewhere
        redoc_url=None,
    )
    fetcher = ImageFetcher(settings.image_origins, settings.limits)
    routes = Routes(settings, tokenizer, chat_model, fetcher, figures)
    chat = ChatRoute(
        settings.chat_model_id, settings.limits, tokenizer, chat_model, fetcher, figures
    )
    for path, method, route in (
        ("/healthz", "GET", routes.health),
        ("/readyz", "GET", routes.readiness),
        ("/metrics", "GET", routes.metrics),
        ("/v1/models", "GET", routes.models),
        ("/v1/encode", "POST", routes.encode),
        ("/v1/decode", "POST", routes.decode),
    ):
        app.add_api_route(path, route, methods=[method], responses=_ERRORS)
    app.add_api_route(
        "/v1/chat/completions",
        chat.complete,
        methods=["POST"],
        response_model=schemas.ChatCompletion,
        responses={
            **_ERRORS,
            200: {"content": {STREAM_TYPE: {}}},
            404: {"model": schemas.ErrorResponse},
        },
    )
    add_web_page(app)
    app.add_exception_handler(ApiError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_failure)
    return Gate(
        app,
        limits=settings.limits,
        key_digests=settings.key_digests,
        figures=figures,
        paths=frozenset(app.openapi()["paths"]),
    )


class Routes:
    """What each path answers."""

    def __init__(
        self,
        settings: ApiSettings,
        tokenizer: Tokenizer,
        chat_model: ChatModel | None,
        fetcher: ImageFetcher,
        figures: Figures,
    ) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._tokenizer = tokenizer
        self._chat_model = chat_model
        self._fetcher = fetcher
        self._figures = figures
        self._started = int(time.time())

    async def health(self) -> dict[str, str]:
        """This process answers."""
        return {"status": "ok"}

    async def readiness(self) -> dict[str, str]:
        """What is served is loaded and answers; 503 until then."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self.models()
        except TimeoutError:
            raise overloaded("nothing is loaded yet", retry_after=_READY_SECONDS) from None
        return {"status": "ready"}

    async def metrics(self) -> Response:
        """Figures of this replica of the ingress, for Prometheus."""
        return Response(self._figures.write(), media_type=CONTENT_TYPE_LATEST)

    async def models(self) -> schemas.ModelList:
        """What is served."""
        shared: dict[str, Any] = {"created": self._started, "owned_by": "samtok"}
        facts, chat_facts = await asyncio.gather(self._tokenizer.facts(), self._chat_facts())
        served = [
            schemas.Model(
                id=self._settings.model_id,
                fingerprint=facts.fingerprint,
                capabilities=["encode", "decode"],
                **shared,
            )
        ]
        if chat_facts is not None and self._settings.chat_model_id is not None:
            served.append(
                schemas.Model(
                    id=self._settings.chat_model_id,
                    fingerprint=None,
                    mask_tokenizer=chat_facts.mask_tokenizer,
                    capabilities=["chat"],
                    **shared,
                )
            )
        return schemas.ModelList(data=served)

    async def _chat_facts(self) -> ModelFacts | None:
        return None if self._chat_model is None else await self._chat_model.facts()

    async def encode(self, request: schemas.EncodeRequest) -> schemas.EncodeResponse:
        """Masks of an image, boxes around things on it, or points on them → two words each."""
        image = await self._fetcher.find(request.image)
        call = await asyncio.to_thread(_read_encode, request, image, self._limits)
        encoded = check_answer(await self._tokenizer.encode(call))
        self._figures.count_call(encoded.served)
        return await asyncio.to_thread(_write_encoded, call, encoded, request.format)

    async def decode(self, request: schemas.DecodeRequest) -> schemas.DecodeResponse:
        """Words, or a text with words in it → masks on an image."""
        image = await self._fetcher.find(request.image)
        call, spans = await asyncio.to_thread(_read_decode, request, image, self._limits)
        decoded = check_answer(await self._tokenizer.decode(call))
        self._figures.count_call(decoded.served)
        return await asyncio.to_thread(_write_decoded, call, spans, decoded, request.format)


def _read_encode(request: schemas.EncodeRequest, sent: str | bytes, limits: Limits) -> EncodeCall:
    image = read_image(sent, limits)
    masks = read_masks(request.masks or (), image.height, image.width, limits)
    boxes = read_boxes(request.boxes or (), image.height, image.width, limits)
    points = read_points(request.points or (), image.height, image.width, limits)
    return EncodeCall(image, masks, request.reconstruct, boxes, points)


def _write_encoded(
    call: EncodeCall, encoded: Encoded, form: schemas.MaskFormat
) -> schemas.EncodeResponse:
    words = format_codes(encoded.codes)
    times = Counter(words)
    iou = encoded.reconstruction_iou or (None,) * len(words)
    masks = [
        schemas.MaskWords(
            words=text,
            codes=codes,
            box=write_box(mask),
            area=rle_area(mask),
            collides=times[text] > 1,
            reconstruction_iou=overlap,
            mask=None if call.masks else write_mask(decode_rle(mask), form),
        )
        for text, codes, mask, overlap in zip(words, encoded.codes, encoded.masks, iou, strict=True)
    ]
    return schemas.EncodeResponse(
        image=_describe(call.image), tokenizer=encoded.served.fingerprint, masks=masks
    )


def _read_decode(
    request: schemas.DecodeRequest, sent: str | bytes, limits: Limits
) -> tuple[DecodeCall, list[MaskSpan]]:
    image = read_image(sent, limits)
    texts = [request.text] if request.text is not None else request.words or []
    if (length := sum(map(len, texts))) > limits.max_text_characters:
        raise refuse(
            "text_too_long",
            f"{length} characters; at most {limits.max_text_characters} are searched for words",
        )
    spans = [span for text in texts for span in parse(text)]
    if request.words is not None:
        spans = [_read_one(text, position) for position, text in enumerate(request.words)]
    codes = tuple(span.codes for span in spans if span.codes)
    height, width = request.size or (image.height, image.width)
    check_num_masks(len(spans), height, width, limits)
    return DecodeCall(image, codes, request.size), spans


def _read_one(text: str, position: int) -> MaskSpan:
    spans = parse(text)
    if len(spans) != 1 or spans[0].codes is None:
        raise refuse(
            "words_unreadable",
            f"entry {position} of words holds {len(spans)} masks, or one that cannot be read; each "
            "holds one, e.g. <|mt_start|><|mt_0011|><|mt_0347|><|mt_end|>; text takes anything",
        )
    return spans[0]


def _write_decoded(
    call: DecodeCall, spans: Sequence[MaskSpan], decoded: Decoded, form: schemas.MaskFormat
) -> schemas.DecodeResponse:
    return schemas.DecodeResponse(
        image=_describe(call.image),
        tokenizer=decoded.served.fingerprint,
        masks=write_spans(spans, decoded, form),
    )


def _describe(image: SentImage) -> schemas.ImageFacts:
    return schemas.ImageFacts(sha256=image.sha256, height=image.height, width=image.width)


async def _answer_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, headers=error.headers())


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """The first thing wrong with a body, named without what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    return await _answer_error(request, refuse("body_malformed", f"{place}: {first['msg']}"))


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "body_malformed")
    refused = refuse(code, str(error.detail), status=error.status_code)
    answer = await _answer_error(request, refused)
    answer.headers.update(error.headers or {})
    return answer


async def _answer_failure(request: Request, _: Exception) -> JSONResponse:
    """The gate logs what happened; the client learns that something did."""
    return await _answer_error(request, failed())
