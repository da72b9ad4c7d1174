"""A row that a job leaves out, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from samtok.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantinedRow:
    """A row that is left out, and why; see `pipelines.columns.QUARANTINE`."""

    source: str
    image_id: str
    mask_id: str | None
    stage: str
    reason: str
    detail: str

    @staticmethod
    def of(
        error: InputError,
        *,
        source: str,
        image_id: str,
        mask_id: str | None,
        stage: str,
        about: str | None = None,
    ) -> QuarantinedRow:
        """The row of an error; its detail begins with what it is `about`, where that is said."""
        return QuarantinedRow(
            source=source,
            image_id=image_id,
            mask_id=mask_id,
            stage=stage,
            reason=error.reason,
            detail=error.detail if about is None else f"{about}: {error.detail}",
        )


def quarantine_conversation(
    row: Mapping[str, Any], error: InputError, *, stage: str
) -> dict[str, Any]:
    """A row of `pipelines.columns.QUARANTINE` for a conversation that cannot be used.

    Args:
        row: of `pipelines.columns.CONVERSATIONS`.
        error: what is wrong with it.
        stage: that found out.
    """
    quarantined = QuarantinedRow.of(
        error,
        source=row["source"],
        image_id=row["image_id"],
        mask_id=None,
        stage=stage,
        about=row["conversation_id"],
    )
    return asdict(quarantined)
