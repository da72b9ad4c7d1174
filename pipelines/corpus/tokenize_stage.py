"""The stage that holds the tokenizer, as Ray Data runs it in a pool of actors.

The arithmetic is samtok's; here it only meets rows. Images are encoded one by one, so that codes
do not depend on who shares a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipelines import columns
from pipelines.corpus.embed_stage import embed_blank, embed_pixels, load_maps, quarantine_masks
from samtok.errors import InputError
from samtok.masks import decode_rles
from samtok.metrics.reconstruction import reconstruct
from samtok.tokenizer import ImageEmbeddings, SAMTok

_MASK_PIXELS_AT_ONCE = 1 << 26


class TokenizeStage:
    """Encode all masks of each image, in a pool of actors.

    Images that come with their maps are not embedded again.

    Columns in: `columns.DECODED`. Columns out: `columns.TOKENIZED`. State held: the tokenizer.

    Args:
        tokenizer: as for ``SAMTok.from_pretrained``.
        device: cpu, cuda or auto.
        num_threads: torch threads on the CPU.
        reconstruct: decode every mask too and measure its IoU.
        is_embedded: all images come with their maps.
    """

    def __init__(
        self,
        tokenizer: str,
        *,
        device: str,
        num_threads: int,
        reconstruct: bool,
        is_embedded: bool,
    ) -> None:
        torch.set_num_threads(num_threads)
        self._tokenizer = SAMTok.from_pretrained(tokenizer, device=device)
        self._reconstruct = reconstruct
        self._rehearse(is_embedded)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Columns out for columns in."""
        rows = []
        for position in range(table.num_rows):  # one at a time: pixels and maps are large
            image = table.slice(position, 1)
            row = image.drop_columns(["pixels", *columns.EMBEDDING_MAPS]).to_pylist()[0]
            rows.append(self._tokenize(row, image))
        return pa.Table.from_pylist(rows, schema=columns.TOKENIZED)

    def _rehearse(self, is_embedded: bool) -> None:
        """A blank image with one mask; see :func:`~pipelines.corpus.embed_stage.embed_blank`."""
        if is_embedded:
            shapes = self._tokenizer.config.embedding_shapes
            maps = {name: torch.zeros(1, *shape) for name, shape in shapes.items()}
            side = self._tokenizer.config.image_size
            embeddings = ImageEmbeddings(**maps, sizes=((side, side),))
        else:
            embeddings = embed_blank(self._tokenizer)
        whole_image = np.ones((1, *embeddings.sizes[0]), dtype=bool)
        if self._reconstruct:
            reconstruct(self._tokenizer, embeddings, whole_image)
        else:
            self._tokenizer.encode(embeddings, whole_image)

    def _tokenize(self, row: dict[str, Any], image: pa.Table) -> dict[str, Any]:
        row.update(codes=[], reconstruction_iou=[], was_embedded=False)
        if not row["masks"]:
            return row
        try:
            if image["embedding_image"].null_count:
                embeddings = embed_pixels(self._tokenizer, image)
                row["was_embedded"] = True
            else:
                maps = {name: image[name][0].as_buffer() for name in columns.EMBEDDING_MAPS}
                size = (row["height"], row["width"])
                embeddings = load_maps(maps, size, self._tokenizer.config)
            row.update(self._encode(embeddings, row))
        except InputError as error:
            row["quarantined"] += quarantine_masks(row, error, stage="tokenize")
            row["masks"] = []
        except Exception as error:
            error.add_note(f"while tokenizing image {row['image_id']} ({row['image_uri']})")
            raise
        return row

    def _encode(self, embeddings: ImageEmbeddings, row: dict[str, Any]) -> dict[str, Any]:
        size = (row["height"], row["width"])
        rles = [mask["rle"] for mask in row["masks"]]
        if not self._reconstruct:
            return {"codes": self._tokenizer.encode(embeddings, rles).tolist()}
        codes, iou = [], []
        step = max(1, _MASK_PIXELS_AT_ONCE // (size[0] * size[1]))
        for start in range(0, len(rles), step):
            masks = decode_rles(rles[start : start + step], *size)
            part = reconstruct(self._tokenizer, embeddings, masks)
            codes += part.codes.tolist()
            iou += part.iou.tolist()
        return {"codes": codes, "reconstruction_iou": iou}
