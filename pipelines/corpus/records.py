"""What the stages of the corpus pipeline hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pipelines.storage import Place
from samtok.errors import InputError
from samtok.masks import Rle


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
        error: InputError, *, source: str, image_id: str, mask_id: str | None, stage: str
    ) -> QuarantinedRow:
        """The row of an error."""
        return QuarantinedRow(
            source=source,
            image_id=image_id,
            mask_id=mask_id,
            stage=stage,
            reason=error.reason,
            detail=error.detail,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedMask:
    """A checked mask of an image."""

    mask_id: str
    category: str
    rle: Rle


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """An image with its checked masks; no pixels where the image was rejected."""

    image_id: str
    image_uri: str
    pixels: np.ndarray | None
    """uint8, shape (H, W, 3), RGB, or None."""
    masks: list[DecodedMask] = field(default_factory=list)
    quarantined: list[QuarantinedRow] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """What a source lists: Parquet shards of `pipelines.columns.INDEX`."""

    shards: list[str]
    """Names relative to the output, in order."""
    num_images: int
    num_masks: int
    """Masks listed, good and bad, without those already quarantined."""
    quarantined: dict[str, int]
    """Rows already quarantined while listing, by reason."""
    num_quarantined_masks: int
    """Those of them that are masks rather than images."""


class Source(Protocol):
    """A corpus format. Small and picklable: it travels to the workers."""

    @property
    def name(self) -> str:
        """Value of the `source` column."""
        ...

    def identity(self) -> dict[str, Any]:
        """JSON values that say which corpus this is; equal values, equal rows."""
        ...

    def check(self) -> None:
        """Raise ConfigError if the source obviously cannot be read; before any cluster work."""
        ...

    def write_index(self, output: Place, *, limit: int | None) -> Index:
        """List the corpus, streaming; writes shards and index-stage quarantine under `output`."""
        ...

    def decode(self, image_id: str, payload: str) -> DecodedImage:
        """Open one listed image and check its masks; bad rows come back quarantined."""
        ...
