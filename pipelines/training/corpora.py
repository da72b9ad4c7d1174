"""Corpora as a training reads them: any run of rows, in any order, from any process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from pipelines.columns import EMBEDDING_MAPS
from pipelines.corpus_reader import (
    EmbeddingFiles,
    open_corpus,
    open_embeddings,
    read_maps,
)
from pipelines.image_decoding import open_row_image
from pipelines.training.parquet_rows import ParquetRows
from samtok.errors import ConfigError, InputError
from samtok.masks import Rle, encode_rle
from samtok.scenes import generate_scene

logger = logging.getLogger(__name__)

SCENES_PREFIX = "scenes:"


class CorpusImage(NamedTuple):
    """An image with its masks; either its pixels or its cached maps."""

    pixels: np.ndarray | None
    """uint8, shape (H, W, 3), RGB."""
    maps: tuple[np.ndarray, ...] | None
    """float16: image, fine and middle map."""
    masks: list[Rle]
    """COCO run lengths; may be empty."""
    height: int
    width: int


class TrainingCorpus(Protocol):
    """Rows by position. Small and picklable: it travels to the workers."""

    @property
    def starts(self) -> Sequence[int]:
        """Positions where something begins that is best read in one go, and the number of rows."""
        ...

    @property
    def digest(self) -> str:
        """Equal digests, equal rows."""
        ...

    def read(self, start: int, stop: int) -> Iterator[CorpusImage]:
        """Rows [start, stop)."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneCorpus:
    """Built-in scenes, drawn when they are read."""

    num_images: int
    split: str = "train"
    seed: int = 0

    @property
    def starts(self) -> Sequence[int]:
        """Any scene."""
        return range(self.num_images + 1)

    @property
    def digest(self) -> str:
        """Scenes are a function of split and seed."""
        return f"{SCENES_PREFIX}{self.split}:{self.seed}:{self.num_images}"

    def read(self, start: int, stop: int) -> Iterator[CorpusImage]:
        """Draw scenes [start, stop)."""
        for index in range(start, stop):
            scene = generate_scene(index, split=self.split, seed=self.seed)
            height, width = scene.image.shape[:2]
            masks = [encode_rle(mask) for mask in scene.masks]
            yield CorpusImage(scene.image, None, masks, height, width)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetCorpus(ParquetRows[CorpusImage]):
    """A Corpus, or embeddings of one, in Parquet."""

    @property
    def _columns(self) -> Sequence[str]:
        content = EMBEDDING_MAPS if self._has_maps else ("image", "image_uri")
        return ["height", "width", "masks", *content]

    def _rows(self, table: pa.Table) -> Iterator[CorpusImage]:
        plain = table.select([n for n in table.column_names if n not in EMBEDDING_MAPS])
        maps = self._maps_of(table) if self._has_maps else None
        for row in plain.to_pylist():
            masks = [mask["rle"] for mask in row["masks"]]
            size = row["height"], row["width"]
            if maps is None:
                yield _open_image(row, masks)
            else:  # rows without masks carry no maps
                yield CorpusImage(None, next(maps) if masks else None, masks, *size)

    @property
    def _has_maps(self) -> bool:
        return isinstance(self.files, EmbeddingFiles)

    def _maps_of(self, table: pa.Table) -> Iterator[tuple[np.ndarray, ...]]:
        assert isinstance(self.files, EmbeddingFiles)
        shapes = self.files.shapes
        levels = [read_maps(table.column(name), shapes[name]) for name in EMBEDDING_MAPS]
        return iter(zip(*levels, strict=True))


def open_training_corpus(location: str) -> TrainingCorpus:
    """The corpus at a location.

    Args:
        location: output of ``jobs/ingest_corpus.py``, local or ``s3://``; or ``scenes:N``,
            ``scenes:N:SPLIT`` or ``scenes:N:SPLIT:SEED`` for N built-in scenes.

    Raises:
        ConfigError: there is no such corpus, or it has no masks.
    """
    if not location.startswith(SCENES_PREFIX):
        return ParquetCorpus.of(open_corpus(location))
    number, *rest = location.removeprefix(SCENES_PREFIX).split(":")
    try:
        num_images, seed = int(number), int(rest[1]) if len(rest) > 1 else 0
    except ValueError as error:
        raise ConfigError(
            f"corpus {location!r}: scenes are named scenes:N, scenes:N:SPLIT or scenes:N:SPLIT:SEED"
        ) from error
    return SceneCorpus(num_images=num_images, split=rest[0] if rest else "train", seed=seed)


def open_cached_corpus(location: str, backbone_fingerprint: str) -> TrainingCorpus:
    """Embeddings written by ``jobs/embed_corpus.py``, which must be of this backbone.

    Raises:
        ConfigError: there are none, they have no masks, or another backbone made them.
    """
    return ParquetCorpus.of(open_embeddings(location, backbone_fingerprint=backbone_fingerprint))


def _open_image(row: dict[str, Any], masks: list[Rle]) -> CorpusImage:
    height, width = row["height"], row["width"]
    if not masks:
        return CorpusImage(None, None, [], height, width)
    try:
        pixels = open_row_image(row)
    except InputError as error:  # ingestion read it; it went bad or away since
        logger.warning("an image is left out of the training: %s", error)
        return CorpusImage(None, None, [], height, width)
    return CorpusImage(pixels, None, masks, height, width)
