"""Values of JSON files that nobody vouches for, as they can be stored."""

from __future__ import annotations

from typing import Any


def read_id(value: Any) -> str | None:
    """An id or a name as text that can be stored; None where it is neither number nor string."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some writers give 1.0
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return clean_text(str(value))


def clean_text(text: str) -> str:
    """JSON can hold halves of surrogate pairs, which no file and no Arrow column can."""
    return text.encode(errors="backslashreplace").decode()
