"""The stage that holds the backbone, as Ray Data runs it in a pool of actors.

Images are embedded one by one, so that an embedding does not depend on who shares a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch

from pipelines import columns
from pipelines.quarantined_row import QuarantinedRow
from samtok.errors import InputError
from samtok.tokenizer import ImageEmbeddings, SAMTok, TokenizerConfig

_SMALL: Final = [name for name in columns.EMBEDDED.names if name not in columns.EMBEDDING_MAPS]


class EmbedStage:
    """One backbone pass per image that has masks, in a pool of actors.

    Columns in: `columns.DECODED`. Columns out: `columns.EMBEDDED`. State held: the tokenizer.

    Args:
        tokenizer: as for ``SAMTok.from_pretrained``.
        device: cpu, cuda or auto.
        num_threads: torch threads on the CPU.
    """

    def __init__(self, tokenizer: str, *, device: str, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        self._tokenizer = SAMTok.from_pretrained(tokenizer, device=device)
        embed_blank(self._tokenizer)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Columns out for columns in."""
        rows = [self._embed(table.slice(position, 1)) for position in range(table.num_rows)]
        return pa.Table.from_pylist(rows, schema=columns.EMBEDDED)

    def _embed(self, image: pa.Table) -> dict[str, Any]:
        row: dict[str, Any] = image.select(_SMALL).to_pylist()[0]
        if not row["masks"]:
            return row
        try:
            row.update(store_maps(embed_pixels(self._tokenizer, image)))
        except InputError as error:
            row["quarantined"] += quarantine_masks(row, error, stage="embed")
            row.update(masks=[], is_rejected=True)
        except Exception as error:
            error.add_note(f"while embedding image {row['image_id']} ({row['image_uri']})")
            raise
        return row


def embed_blank(tokenizer: SAMTok) -> ImageEmbeddings:
    """One backbone pass over a blank image, before an actor takes any of the corpus.

    From then on it holds the memory that it works with, and a device too small for that fails
    before anything was read.
    """
    side = tokenizer.config.image_size
    return tokenizer.embed(np.zeros((side, side, 3), dtype=np.uint8))


def embed_pixels(tokenizer: SAMTok, image: pa.Table) -> ImageEmbeddings:
    """One backbone pass over the pixels of a row of `columns.DECODED`."""
    side = tokenizer.config.image_size
    pixels = np.frombuffer(image["pixels"][0].as_buffer(), dtype=np.uint8)
    size = (image["height"][0].as_py(), image["width"][0].as_py())
    return tokenizer.embed(pixels.reshape(side, side, 3), sizes=[size])


def store_maps(embeddings: ImageEmbeddings) -> dict[str, bytes]:
    """The maps of one image as `columns.EMBEDDING_MAPS` hold them.

    Raises:
        InputError: ``embedding_not_finite``; a value is beyond float16.
    """
    stored = {}
    for name in columns.EMBEDDING_MAPS:
        values = getattr(embeddings, name.removeprefix("embedding_"))[0].to(torch.float16).cpu()
        if not values.isfinite().all():
            raise InputError("embedding_not_finite", f"{name} has values beyond float16")
        stored[name] = values.numpy().tobytes()
    return stored


def load_maps(
    maps: Mapping[str, bytes | pa.Buffer], size: tuple[int, int], config: TokenizerConfig
) -> ImageEmbeddings:
    """The embeddings that :func:`store_maps` stored, float32, on the CPU.

    Args:
        maps: by the names of `columns.EMBEDDING_MAPS`.
        size: (height, width) of the image, in pixels.
        config: of the tokenizer that will read them.

    Raises:
        InputError: ``embedding_malformed``; the bytes are not those of such maps.
    """
    try:
        tensors = {
            name: torch.from_numpy(
                np.frombuffer(maps[f"embedding_{name}"], np.float16).reshape(1, *shape).copy()
            )
            for name, shape in config.embedding_shapes.items()
        }
    except ValueError as error:
        raise InputError("embedding_malformed", f"the stored maps do not fit: {error}") from error
    return ImageEmbeddings(**tensors, sizes=(size,)).to(dtype=torch.float32)


def quarantine_masks(row: dict[str, Any], error: InputError, *, stage: str) -> list[dict[str, Any]]:
    """A quarantined row for every mask of an image."""
    return [
        asdict(
            QuarantinedRow.of(
                error,
                source=row["source"],
                image_id=row["image_id"],
                mask_id=mask["mask_id"],
                stage=stage,
            )
        )
        for mask in row["masks"]
    ]
