"""How much one request may ask for, and one client in a minute."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pipelines.setting_checks import above_zero


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of requests; what exceeds one is refused with its name."""

    max_request_bytes: int = 32 << 20
    """Largest body, in bytes, as it arrives; counted while reading (413)."""
    max_image_pixels: int = 1 << 24
    """Largest image, width x height, read from its header before it is decoded (422)."""
    max_masks: int = 64
    """Most masks, or mask words to decode, of one call (422)."""
    max_points: int = 32
    """Most points on one thing (422)."""
    max_mask_pixels: int = 1 << 27
    """Largest product of masks and their pixels in one call; bounds memory (422)."""
    max_text_characters: int = 65536
    """Longest text, list of words together, or conversation, in characters (422)."""
    max_messages: int = 64
    """Most messages of a conversation (422)."""
    max_prompt_tokens: int = 8192
    """Most tokens of a conversation, the image's included (422)."""
    max_new_tokens: int = 1024
    """Most tokens of an answer that a client may ask for, and what one gets that does not say
    (422)."""
    requests_per_minute: float = 600.0
    """Calls per client and minute in the long run, above 0; a client is an API key, or without
    keys an address (429)."""
    burst: int = 60
    """Calls a client may make at once after a pause (429)."""
    max_pending: int = 64
    """Calls being read, waiting or computed at once; one more is turned away (503)."""
    max_body_seconds: float = 30.0
    """Time a client may take to send a body, in seconds (408)."""
    max_fetch_bytes: int = 16 << 20
    """Largest file that is fetched from one of --image-origins, in bytes (422)."""
    max_fetch_seconds: float = 10.0
    """Time such a file may take to come, in seconds (422)."""
    max_call_seconds: float = 120.0
    """Time a call may take once it is read, waiting included, in seconds (504)."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            above_zero(f"limits.{field.name}", getattr(self, field.name))
