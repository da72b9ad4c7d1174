"""Client of the service that jobs/serve_model.py starts: masks to words, words to masks, chat.

`Client` waits, `AsyncClient` is awaited; both say the same with the same arguments. Masks are bool
arrays on this side; no torch is loaded.

Letters: N masks, H W pixels.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np
from PIL import Image

from samtok.errors import SamtokError
from samtok.masks import Rle, decode_rle, encode_rle

DEFAULT_URL: Final = "http://127.0.0.1:8000"

_ENCODE: Final = "/v1/encode"
_DECODE: Final = "/v1/decode"
_CHAT: Final = "/v1/chat/completions"
_MODELS: Final = "/v1/models"
_BUSY: Final = (429, 503)
_MAX_WAIT_SECONDS: Final = 30.0

SentImage = Image.Image | np.ndarray | bytes | str | Path
"""A PIL image, uint8 RGB array (H, W, 3), the bytes of an image file, or a path to one."""
SentMasks = np.ndarray | Sequence[np.ndarray | Rle]
"""bool, shape (N, H, W), or N masks: bool arrays (H, W) or COCO RLEs."""
SentPoints = Sequence[Sequence[tuple[float, float, bool]]]
"""For each thing its points: x and y in pixels, and whether the thing has it or leaves it out."""
Prompt = str | Sequence[str | np.ndarray]
"""Text, which may hold mask words; or pieces of text and bool masks (H, W) in order."""


class ServiceError(SamtokError):
    """The service answered with an error.

    Args:
        status: HTTP status.
        code: stable name, e.g. ``"image_too_large"``.
        message: one sentence for a person.
        request_id: names the call in the service's log.
    """

    def __init__(self, status: int, code: str, message: str, request_id: str | None) -> None:
        super().__init__(f"{status} {code}: {message} (request {request_id})")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class EncodedMask:
    """A mask as two words."""

    words: str
    codes: tuple[int, int]
    """Per book, 0..255."""
    box: tuple[int, int, int, int]
    """xyxy pixels, the last pixel inside."""
    area: int
    """Pixels."""
    collides: bool
    """Another mask of the call has the same words."""
    reconstruction_iou: float | None
    """0..1, where asked for."""
    mask: np.ndarray | None = field(repr=False)
    """bool, shape (H, W): what was found in a box; None where the mask was sent."""


@dataclass(frozen=True, slots=True)
class FoundMask:
    """A place in a text where a mask was begun."""

    start: int
    """Position of its first character; of its entry where words were given."""
    end: int
    """Position after its last one."""
    status: str
    """well_formed, repaired or rejected."""
    codes: tuple[int, int] | None
    """Per book, 0..255, the second -1 where missing; None when rejected."""
    mask: np.ndarray | None = field(repr=False)
    """bool, shape (H, W); None where it was not decoded."""
    confidence: float | None
    """0..1; it ranks masks."""
    label: str | None
    """What the answer of a conversation calls it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said."""

    text: str
    """Mask words stay in it."""
    masks: tuple[FoundMask, ...]
    finish_reason: str
    """stop, or length where it was cut."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How an answer is written; None leaves the choice to the service."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: Sequence[str] | None = None


class Client:
    """Calls that wait for their answer.

    Args:
        url: of the service.
        api_key: where the service asks for one.
        max_retries: of a call that found the service busy (429, 503), after the time it names.
        http: an HTTP client of one's own, e.g. with a proxy or other timeouts.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        max_retries: int = 2,
        http: httpx2.Client | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = _make_headers(api_key)
        self._max_retries = max_retries
        self._http = http or httpx2.Client(timeout=120.0)
        self._chat_model: str | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def encode(
        self,
        image: SentImage,
        masks: SentMasks | None = None,
        *,
        boxes: Sequence[Sequence[float]] | None = None,
        points: SentPoints | None = None,
        reconstruct: bool = False,
    ) -> list[EncodedMask]:
        """Masks of an image, boxes around things on it, or points on them → two words each.

        Args:
            image: they lie on.
            masks: N, at the image's size, none empty.
            boxes: instead of masks, N around one thing each: xyxy pixels, the last pixel inside.
            points: instead of masks, those of N things, one or more of each inside.
            reconstruct: decode the words again and give the overlap.

        Raises:
            ServiceError: the service refused, or stayed busy.
        """
        request = _write_encode(image, masks, boxes, points, reconstruct)
        return _read_encoded(self._call(_ENCODE, request))

    def decode(
        self,
        image: SentImage,
        words: Sequence[str] | str,
        *,
        size: tuple[int, int] | None = None,
    ) -> list[FoundMask]:
        """Words on an image → masks.

        Args:
            image: they lie on.
            words: one mask each; or a text, in which every mask is found.
            size: (height, width) of the masks; the image's own where not given.

        Raises:
            ServiceError: the service refused, or stayed busy.
        """
        return _read_found(self._call(_DECODE, _write_decode(image, words, size))["masks"])

    def chat(
        self,
        image: SentImage,
        prompt: Prompt,
        *,
        history: Sequence[tuple[Prompt, str]] = (),
        sampling: Sampling | None = None,
    ) -> Answer:
        """Ask about an image.

        Args:
            image: the conversation is about.
            prompt: of the user.
            history: earlier prompts and the texts of their answers.
            sampling: how the answer is written.

        Raises:
            ServiceError: the service refused, stayed busy, or serves no language model.
        """
        body = _write_chat(self._find_chat_model(), image, prompt, history, sampling)
        (choice,) = self._call(_CHAT, body)["choices"]
        return _read_answer(choice["message"], choice["finish_reason"])

    def stream_chat(
        self,
        image: SentImage,
        prompt: Prompt,
        *,
        history: Sequence[tuple[Prompt, str]] = (),
        sampling: Sampling | None = None,
    ) -> Iterator[str | Answer]:
        """As :meth:`chat`, piece by piece: text as it is written, and the whole answer last."""
        body = _write_chat(self._find_chat_model(), image, prompt, history, sampling)
        reader = _StreamReader()
        with self._http.stream(
            "POST", self._url + _CHAT, json={**body, "stream": True}, headers=self._headers
        ) as response:
            if response.status_code != 200:
                response.read()
                raise _to_error(response)
            for line in response.iter_lines():
                yield from reader.take(line)

    def _find_chat_model(self) -> str:
        if self._chat_model is None:
            self._chat_model = _choose_chat_model(self._call(_MODELS))
        return self._chat_model

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        for attempt in range(self._max_retries + 1):
            response = self._http.request(
                "GET" if body is None else "POST",
                self._url + path,
                json=body,
                headers=self._headers,
            )
            if (wait := _find_wait(response)) is None or attempt == self._max_retries:
                break
            time.sleep(wait)
        return _read_body(response)


class AsyncClient:
    """As :class:`Client`, for asyncio; see there for arguments and errors."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        max_retries: int = 2,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = _make_headers(api_key)
        self._max_retries = max_retries
        self._http = http or httpx2.AsyncClient(timeout=120.0)
        self._chat_model: str | None = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def encode(
        self,
        image: SentImage,
        masks: SentMasks | None = None,
        *,
        boxes: Sequence[Sequence[float]] | None = None,
        points: SentPoints | None = None,
        reconstruct: bool = False,
    ) -> list[EncodedMask]:
        """Masks of an image → two words each; see :meth:`Client.encode`."""
        request = _write_encode(image, masks, boxes, points, reconstruct)
        return _read_encoded(await self._call(_ENCODE, request))

    async def decode(
        self,
        image: SentImage,
        words: Sequence[str] | str,
        *,
        size: tuple[int, int] | None = None,
    ) -> list[FoundMask]:
        """Words on an image → masks; see :meth:`Client.decode`."""
        return _read_found((await self._call(_DECODE, _write_decode(image, words, size)))["masks"])

    async def chat(
        self,
        image: SentImage,
        prompt: Prompt,
        *,
        history: Sequence[tuple[Prompt, str]] = (),
        sampling: Sampling | None = None,
    ) -> Answer:
        """Ask about an image; see :meth:`Client.chat`."""
        body = _write_chat(await self._find_chat_model(), image, prompt, history, sampling)
        (choice,) = (await self._call(_CHAT, body))["choices"]
        return _read_answer(choice["message"], choice["finish_reason"])

    async def stream_chat(
        self,
        image: SentImage,
        prompt: Prompt,
        *,
        history: Sequence[tuple[Prompt, str]] = (),
        sampling: Sampling | None = None,
    ) -> AsyncIterator[str | Answer]:
        """As :meth:`chat`, piece by piece: text as it is written, and the whole answer last."""
        body = _write_chat(await self._find_chat_model(), image, prompt, history, sampling)
        reader = _StreamReader()
        async with self._http.stream(
            "POST", self._url + _CHAT, json={**body, "stream": True}, headers=self._headers
        ) as response:
            if response.status_code != 200:
                await response.aread()
                raise _to_error(response)
            async for line in response.aiter_lines():
                for piece in reader.take(line):
                    yield piece

    async def _find_chat_model(self) -> str:
        if self._chat_model is None:
            self._chat_model = _choose_chat_model(await self._call(_MODELS))
        return self._chat_model

    async def _call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        for attempt in range(self._max_retries + 1):
            response = await self._http.request(
                "GET" if body is None else "POST",
                self._url + path,
                json=body,
                headers=self._headers,
            )
            if (wait := _find_wait(response)) is None or attempt == self._max_retries:
                break
            await asyncio.sleep(wait)
        return _read_body(response)


def _make_headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def _write_encode(
    image: SentImage,
    masks: SentMasks | None,
    boxes: Sequence[Sequence[float]] | None,
    points: SentPoints | None,
    reconstruct: bool,
) -> dict[str, Any]:
    return {
        "image": _write_image(image),
        "masks": None if masks is None else [_write_mask(mask) for mask in masks],
        "boxes": None if boxes is None else [[float(side) for side in box] for box in boxes],
        "points": None if points is None else [_write_points(of_thing) for of_thing in points],
        "reconstruct": reconstruct,
    }


def _write_points(points: Sequence[tuple[float, float, bool]]) -> list[dict[str, Any]]:
    return [{"x": float(x), "y": float(y), "inside": bool(inside)} for x, y, inside in points]


def _write_decode(
    image: SentImage, words: Sequence[str] | str, size: tuple[int, int] | None
) -> dict[str, Any]:
    source = {"text": words} if isinstance(words, str) else {"words": list(words)}
    return {"image": _write_image(image), "size": size, **source}


def _write_chat(
    model: str,
    image: SentImage,
    prompt: Prompt,
    history: Sequence[tuple[Prompt, str]],
    sampling: Sampling | None,
) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for asked, answered in history:
        messages.append({"role": "user", "content": _write_prompt(asked)})
        messages.append({"role": "assistant", "content": answered})
    messages.append({"role": "user", "content": _write_prompt(prompt)})
    picture = {"type": "image_url", "image_url": {"url": _write_image(image)}}
    messages[0]["content"].insert(0, picture)
    body: dict[str, Any] = {"model": model, "messages": messages}
    for name in ("max_tokens", "temperature", "top_p", "seed", "stop"):
        if (value := getattr(sampling, name, None)) is not None:
            body[name] = list(value) if name == "stop" else value
    return body


def _write_prompt(prompt: Prompt) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": piece}
        if isinstance(piece, str)
        else {"type": "mask", "mask": _write_mask(piece)}
        for piece in ([prompt] if isinstance(prompt, str) else prompt)
    ]


def _write_mask(mask: np.ndarray | Rle) -> dict[str, Any]:
    return {"rle": encode_rle(mask) if isinstance(mask, np.ndarray) else mask}


def _write_image(image: SentImage) -> str:
    if isinstance(image, np.ndarray | Image.Image):
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        file = io.BytesIO()
        picture.convert("RGB").save(file, format="PNG", compress_level=1)  # a call waits for it
        content = file.getvalue()
    else:
        content = image if isinstance(image, bytes) else Path(image).read_bytes()
    return base64.b64encode(content).decode("ascii")


def _read_encoded(body: Mapping[str, Any]) -> list[EncodedMask]:
    return [
        EncodedMask(
            words=mask["words"],
            codes=tuple(mask["codes"]),
            box=tuple(mask["box"]),
            area=mask["area"],
            collides=mask["collides"],
            reconstruction_iou=mask["reconstruction_iou"],
            mask=_read_mask(mask),
        )
        for mask in body["masks"]
    ]


def _read_found(masks: Sequence[Mapping[str, Any]]) -> list[FoundMask]:
    return [
        FoundMask(
            start=mask["start"],
            end=mask["end"],
            status=mask["status"],
            codes=None if mask["codes"] is None else tuple(mask["codes"]),
            mask=_read_mask(mask),
            confidence=mask["confidence"],
            label=mask.get("label"),
        )
        for mask in masks
    ]


def _read_mask(entry: Mapping[str, Any]) -> np.ndarray | None:
    return None if entry["mask"] is None else decode_rle(entry["mask"]["rle"])


def _read_answer(message: Mapping[str, Any], finish_reason: str) -> Answer:
    return Answer(message["content"], tuple(_read_found(message["masks"])), finish_reason)


class _StreamReader:
    """Lines of server-sent events → pieces of an answer."""

    def __init__(self) -> None:
        self._text = ""

    def take(self, line: str) -> Iterator[str | Answer]:
        """What a line brings, if anything."""
        if not line.startswith("data: ") or line == "data: [DONE]":
            return
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            raise ServiceError(200, event["error"]["code"], event["error"]["message"], None)
        (choice,) = event["choices"]
        if piece := choice["delta"].get("content"):
            self._text += piece
            yield piece
        if choice["finish_reason"]:
            message = {"content": self._text, "masks": choice["delta"]["masks"]}
            yield _read_answer(message, choice["finish_reason"])


def _choose_chat_model(models: Mapping[str, Any]) -> str:
    chat = [model["id"] for model in models["data"] if "chat" in model["capabilities"]]
    if not chat:
        raise ServiceError(404, "model_not_found", "no language model is served there", None)
    return str(chat[0])


def _find_wait(response: httpx2.Response) -> float | None:
    """Seconds after which a busy service may be asked again; None where asking again is no use."""
    if response.status_code not in _BUSY:
        return None
    return min(float(response.headers.get("retry-after", 1)), _MAX_WAIT_SECONDS)


def _read_body(response: httpx2.Response) -> Any:
    if response.status_code != 200:
        raise _to_error(response)
    return response.json()


def _to_error(response: httpx2.Response) -> ServiceError:
    request_id = response.headers.get("x-request-id")
    try:
        error = response.json()["error"]
        return ServiceError(response.status_code, error["code"], error["message"], request_id)
    except (ValueError, KeyError, TypeError):  # of something between here and the service
        text = response.text[:200]
        return ServiceError(response.status_code, "no_json", text, request_id)
