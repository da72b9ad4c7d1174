"""What goes wrong in a request, as the client sees it: ``{"error": {type, message, code}}``."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeVar

from pipelines.serving.calls import Refused
from samtok.errors import SamtokError

Answered = TypeVar("Answered")

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "rate_limit_error",
    "overloaded_error",
    "server_error",
]


class ApiError(SamtokError):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        kind: the error's `type`, a coarse class that clients branch on.
        code: stable name in snake_case, e.g. ``"too_many_masks"``.
        message: one sentence for a person: what was received, what is allowed. It never quotes
            the request's images or masks.
        retry_after: seconds after which the same request may succeed; None where it cannot.
    """

    def __init__(
        self,
        status: int,
        kind: ErrorType,
        code: str,
        message: str,
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, kind, code, message)
        self.status = status
        self.kind = kind
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        return {"error": {"type": self.kind, "message": self.message, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer: whole seconds to wait, where waiting helps."""
        if self.retry_after is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


def refuse(code: str, message: str, *, status: int = 422) -> ApiError:
    """An error in what the client sent."""
    return ApiError(status, "invalid_request_error", code, message)


def overloaded(message: str, *, retry_after: float) -> ApiError:
    """The service is busy; the same request may succeed later."""
    return ApiError(503, "overloaded_error", "overloaded", message, retry_after=retry_after)


def failed() -> ApiError:
    """A defect of the service; nothing of it is told."""
    return ApiError(500, "server_error", "internal_error", "the service failed on this request")


def check_answer(answer: Answered | Refused) -> Answered:
    """The answer to a call, where it is one.

    Raises:
        ApiError: it is a refusal.
    """
    if isinstance(answer, Refused):
        raise refuse(answer.reason, answer.detail)
    return answer
