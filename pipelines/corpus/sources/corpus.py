"""A Corpus: what ``jobs/ingest_corpus.py`` wrote, from any format."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pipelines.corpus.records import DecodedImage, Index
from pipelines.corpus.sources.parquet_rows import RowReader, check_masks, write_row_index
from pipelines.corpus_reader import open_corpus
from pipelines.image_decoding import decode_image, open_image
from pipelines.storage import Place
from samtok.errors import InputError

_COLUMNS = ("image_uri", "height", "width", "source", "image", "masks")


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusSource:
    """The rows of a finished Corpus; images from the row, or from where its uri says."""

    corpus: str
    """Local folder or ``s3://`` prefix."""
    images_per_shard: int = 128

    @property
    def name(self) -> str:
        """Of the source; rows keep the name of the format they came from."""
        return "corpus"

    def identity(self) -> dict[str, Any]:
        """The corpus, by what its manifest says."""
        files = open_corpus(self.corpus, needs_masks=False)
        return {
            "source": self.name,
            "corpus": files.place.uri(),
            "corpus_manifest_sha256": files.digest,
        }

    def check(self) -> None:
        """It must be there and finished."""
        open_corpus(self.corpus, needs_masks=False)

    def write_index(self, output: Place, *, limit: int | None) -> Index:
        """One row per row of the Corpus.

        Raises:
            ConfigError: a file of it cannot be read.
        """
        files = open_corpus(self.corpus, needs_masks=False)
        return write_row_index(files, output, limit=limit, images_per_shard=self.images_per_shard)

    def decode(self, image_id: str, payload: str, *, with_texts: bool = False) -> DecodedImage:
        """Open the image of a row and check its masks against it."""
        columns = (*_COLUMNS, "texts") if with_texts else _COLUMNS
        row: dict[str, Any] = {}
        try:
            row, _ = RowReader(self.corpus, columns).read(payload)
            uri, declared = row["image_uri"] or "", (row["height"], row["width"])
            content = row["image"]
            if content is None:
                pixels, content = open_image(uri, declared)
            else:
                pixels = decode_image(content, f"image {image_id} of the corpus", declared)
        except InputError as error:
            return DecodedImage.reject(
                error,
                source=row.get("source") or self.name,
                image_id=image_id,
                image_uri=row.get("image_uri") or "",
                mask_ids=RowReader.mask_ids(payload),
            )
        image = DecodedImage(
            image_id=image_id,
            image_uri=uri,
            source=row["source"],
            height=pixels.shape[0],
            width=pixels.shape[1],
            pixels=pixels,
            content=content,
            is_carried=row["image"] is not None,
            texts=row.get("texts") or [],
        )
        masks, quarantined = check_masks(row["masks"] or [], image)
        return dataclasses.replace(image, masks=masks, quarantined=quarantined)
