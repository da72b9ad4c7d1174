"""What every request passes before a route sees it: who, how often, how many, how large.

Pure ASGI, around the routes, so that a body is counted while it arrives and nothing is parsed for a
client that is turned away.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serving.access import identify_client
from pipelines.serving.errors import ApiError, failed, overloaded, refuse
from pipelines.serving.figures import Figures
from pipelines.serving.limits import Limits
from pipelines.serving.rate_limiter import RateLimiter
from pipelines.serving.web_page import is_page_path

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Asked by what starts and watches the service: no key, no limit."""

_log = logging.getLogger("samtok.serving")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RETRY_SECONDS = 1.0


class Gate:
    """An ASGI application around another.

    Every answer carries ``X-Request-Id``: the client's, or a new one. One line per request is
    logged; no part of a body ever is.

    Args:
        app: the routes.
        limits: of requests.
        key_digests: of the keys that are let in; empty lets in everybody.
        figures: counts every request.
        paths: routes that are counted by name.
        limiter: counts calls of clients.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        key_digests: Sequence[str],
        figures: Figures,
        paths: frozenset[str],
        limiter: RateLimiter | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._key_digests = key_digests
        self._figures = figures
        self._paths = paths
        self._limiter = limiter or RateLimiter(limits.requests_per_minute, limits.burst)
        self._num_pending = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection; everything but HTTP goes to the routes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        given = Headers(scope=scope).get("x-request-id", "")
        answer = _Answer(send, given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)
        try:
            await self._admit(scope, receive, answer)
        except ApiError as error:
            await answer.fail(error)
        except Exception:
            _log.exception("request %s failed", answer.request_id)
            await answer.fail(failed())
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            seconds = time.monotonic() - began
            self._figures.count_request(path, answer.status, seconds)
            _log.info(
                "%s %s %s %d %.3fs",
                *(answer.request_id, scope["method"], path, answer.status, seconds),
            )

    async def _admit(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if scope["path"] in OPEN_PATHS or is_page_path(scope["path"]):
            await self._app(scope, receive, answer)
            return
        address = scope["client"][0] if scope.get("client") else None
        client = identify_client(
            Headers(scope=scope).get("authorization"), address, self._key_digests
        )
        if (wait := self._limiter.take(client)) > 0:
            raise ApiError(
                429,
                "rate_limit_error",
                "rate_limited",
                f"more than {self._limits.requests_per_minute:g} calls a minute",
                retry_after=wait,
            )
        if self._num_pending >= self._limits.max_pending:
            raise overloaded(
                f"{self._num_pending} calls are waiting already", retry_after=_RETRY_SECONDS
            )
        self._num_pending += 1
        self._figures.pending.set(self._num_pending)
        try:
            await self._read_and_run(scope, receive, answer)
        finally:
            self._num_pending -= 1
            self._figures.pending.set(self._num_pending)

    async def _read_and_run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        limits = self._limits
        try:
            async with asyncio.timeout(limits.max_body_seconds):
                body = await _read_body(scope, receive, limits.max_request_bytes)
        except TimeoutError:
            raise refuse(
                "body_too_slow",
                f"the body did not arrive within {limits.max_body_seconds:g} s",
                status=408,
            ) from None
        try:
            async with asyncio.timeout(limits.max_call_seconds):
                await self._app(scope, _replay(body, receive), answer)
        except TimeoutError:
            raise ApiError(
                504,
                "overloaded_error",
                "timed_out",
                f"the call took more than {limits.max_call_seconds:g} s",
                retry_after=_RETRY_SECONDS,
            ) from None


class _Answer:
    """`send` of one request: adds the request id and remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 499
        """What was answered; 499 where the client left before."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self.request_id
        await self._send(message)

    async def fail(self, error: ApiError) -> None:
        """Answer with an error, unless an answer has begun: it cannot be taken back."""
        if self.status != 499:
            return
        headers = {"Content-Type": "application/json", **error.headers()}
        await self(
            {
                "type": "http.response.start",
                "status": error.status,
                "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            }
        )
        await self({"type": "http.response.body", "body": json.dumps(error.body()).encode()})


async def _read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body; no more of it than allowed is ever held."""
    too_large = refuse("request_too_large", f"the body exceeds {max_bytes} bytes", status=413)
    declared = Headers(scope=scope).get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise too_large
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise refuse("client_left", "the connection was closed", status=499)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > max_bytes:
            raise too_large
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives a body read before, and then what the connection says."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
