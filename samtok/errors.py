"""The few exceptions a caller of samtok may want to catch.

Messages name the file or row, the value received, what is allowed, and what to do next.
"""


class SamtokError(Exception):
    """Base class of every error this project raises on purpose."""


class ConfigError(SamtokError):
    """A setting is wrong; found before any work starts."""


class CheckpointError(SamtokError):
    """A checkpoint, tokenizer folder or manifest cannot be used."""


class InputError(SamtokError):
    """One row of input is bad; a pipeline quarantines the row and goes on.

    Args:
        reason: stable code in snake_case, counted in summaries, e.g. ``"rle_counts_sum"``.
        detail: one sentence for a person: the value received, what is allowed, what to do.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
