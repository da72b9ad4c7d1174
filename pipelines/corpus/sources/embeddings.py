"""Embeddings: what ``jobs/embed_corpus.py`` wrote. No image is opened, no backbone runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pipelines.columns import EMBEDDING_MAPS
from pipelines.corpus.records import DecodedImage, Index
from pipelines.corpus.sources.parquet_rows import RowReader, check_masks, write_row_index
from pipelines.corpus_reader import open_embeddings
from pipelines.storage import Place
from samtok.errors import InputError

_COLUMNS = ("image_uri", "height", "width", "source", "masks", *EMBEDDING_MAPS)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingsSource:
    """The rows of finished embeddings, masks included."""

    embeddings: str
    """Local folder or ``s3://`` prefix."""
    backbone_fingerprint: str
    """Of the tokenizer that is to read them."""
    images_per_shard: int = 128

    @property
    def name(self) -> str:
        """Of the source; rows keep the name of the format they came from."""
        return "embeddings"

    def identity(self) -> dict[str, Any]:
        """The embeddings, by what their manifest says."""
        files = open_embeddings(self.embeddings, needs_masks=False)
        return {
            "source": self.name,
            "embeddings": files.place.uri(),
            "embeddings_manifest_sha256": files.digest,
        }

    def check(self) -> None:
        """They must be there, finished, and of the tokenizer's backbone."""
        open_embeddings(
            self.embeddings, backbone_fingerprint=self.backbone_fingerprint, needs_masks=False
        )

    def write_index(self, output: Place, *, limit: int | None) -> Index:
        """One row per row of the embeddings.

        Raises:
            ConfigError: a file of them cannot be read.
        """
        files = open_embeddings(self.embeddings, needs_masks=False)
        return write_row_index(files, output, limit=limit, images_per_shard=self.images_per_shard)

    def decode(self, image_id: str, payload: str, *, with_texts: bool = False) -> DecodedImage:
        """Read the maps of a row and check its masks."""
        try:
            row, mask_ids = RowReader(self.embeddings, _COLUMNS).read(payload)
            maps = {name: row[name] for name in EMBEDDING_MAPS}
            if mask_ids and None in maps.values():
                raise InputError("embedding_missing", f"image {image_id} has masks but no maps")
        except InputError as error:
            return DecodedImage.reject(
                error,
                source=self.name,
                image_id=image_id,
                image_uri="",
                mask_ids=RowReader.mask_ids(payload),
            )
        image = DecodedImage(
            image_id=image_id,
            image_uri=row["image_uri"],
            source=row["source"],
            height=row["height"],
            width=row["width"],
            maps=maps if mask_ids else None,
        )
        masks, quarantined = check_masks(row["masks"] or [], image)
        return dataclasses.replace(image, masks=masks, quarantined=quarantined)
