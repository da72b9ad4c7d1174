"""What the stages of the corpus pipeline hand to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pipelines.quarantined_row import QuarantinedRow
from pipelines.storage import Place
from samtok.errors import InputError
from samtok.masks import Rle


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedMask:
    """A checked mask of an image."""

    mask_id: str
    rle: Rle
    category: str
    is_crowd: bool = False
    """A region of many things rather than one (COCO's ``iscrowd``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """An image with its checked masks."""

    image_id: str
    image_uri: str
    source: str
    height: int = 0
    width: int = 0
    pixels: np.ndarray | None = None
    """uint8, shape (H, W, 3), RGB; None where there are maps instead, or the image is rejected."""
    maps: dict[str, bytes] | None = None
    """Its embedding, by the names of `columns.EMBEDDING_MAPS`, where the source holds it."""
    content: bytes | None = None
    """The encoded file; None where it has none (yet)."""
    is_carried: bool = False
    """Whether the image is nowhere else to be found, so that a Corpus had better carry it."""
    masks: list[DecodedMask] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `columns.TEXT`, where they were asked for."""
    quarantined: list[QuarantinedRow] = field(default_factory=list)
    is_rejected: bool = False

    @staticmethod
    def reject(
        error: InputError, *, source: str, image_id: str, image_uri: str, mask_ids: Sequence[str]
    ) -> DecodedImage:
        """An image that is left out: a quarantined row per mask, or one if it has none."""
        rows: Sequence[str | None] = mask_ids or [None]
        return DecodedImage(
            image_id=image_id,
            image_uri=image_uri,
            source=source,
            is_rejected=True,
            quarantined=[
                QuarantinedRow.of(
                    error, source=source, image_id=image_id, mask_id=mask_id, stage="decode"
                )
                for mask_id in rows
            ],
        )


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
    num_texts: int | None = None
    """Texts listed, without those already quarantined; None where they are not counted."""


def identify_file(name: str, location: str) -> dict[str, Any]:
    """What tells a file's contents from later ones in a source's identity: size and time."""
    place, file = Place.at_file(location)
    info = place.filesystem.get_file_info(place.path(file))
    return {
        name: place.uri(file),
        f"{name}_bytes": info.size,
        f"{name}_modified_ns": info.mtime_ns,
    }


class Listing(Protocol):
    """What a job works through: rows that can be listed. Small and picklable."""

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


class Source(Listing, Protocol):
    """A corpus format; it travels to the workers."""

    def decode(self, image_id: str, payload: str, *, with_texts: bool = False) -> DecodedImage:
        """Open one listed image and check its masks; bad rows come back quarantined."""
        ...
