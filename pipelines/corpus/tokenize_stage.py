"""The stage that holds the tokenizer, as Ray Data runs it in a pool of actors.

The arithmetic is samtok's; here it only meets rows. Images are encoded one by one, so that codes
do not depend on who shares a batch.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipelines import columns
from pipelines.corpus.records import QuarantinedRow
from samtok.errors import InputError
from samtok.masks import decode_rles
from samtok.metrics.reconstruction import reconstruct
from samtok.tokenizer import SAMTok

_MASK_PIXELS_AT_ONCE = 1 << 26


class TokenizeStage:
    """Encode all masks of each image, in a pool of actors.

    Columns in: `columns.DECODED`. Columns out: `columns.TOKENIZED`. State held: the tokenizer.

    Args:
        tokenizer: as for ``SAMTok.from_pretrained``.
        device: cpu, cuda or auto.
        num_threads: torch threads on the CPU.
        reconstruct: decode every mask too and measure its IoU.
    """

    def __init__(self, tokenizer: str, *, device: str, num_threads: int, reconstruct: bool) -> None:
        torch.set_num_threads(num_threads)
        self._tokenizer = SAMTok.from_pretrained(tokenizer, device=device)
        self._reconstruct = reconstruct

    def __call__(self, table: pa.Table) -> pa.Table:
        """Columns out for columns in."""
        rows = [self._tokenize(row) for row in table.to_pylist()]
        return pa.Table.from_pylist(rows, schema=columns.TOKENIZED)

    def _tokenize(self, row: dict[str, Any]) -> dict[str, Any]:
        pixels = row.pop("pixels")
        row.update(codes=[], reconstruction_iou=[], was_embedded=pixels is not None)
        if pixels is None:
            return row
        try:
            row.update(self._encode(pixels, row))
        except InputError as error:
            row["quarantined"] += [
                asdict(
                    QuarantinedRow.of(
                        error,
                        source=row["source"],
                        image_id=row["image_id"],
                        mask_id=mask["mask_id"],
                        stage="tokenize",
                    )
                )
                for mask in row["masks"]
            ]
            row["masks"] = []
        except Exception as error:
            error.add_note(f"while tokenizing image {row['image_id']} ({row['image_uri']})")
            raise
        return row

    def _encode(self, pixels: bytes, row: dict[str, Any]) -> dict[str, Any]:
        side, size = self._tokenizer.config.image_size, (row["height"], row["width"])
        image = np.frombuffer(pixels, dtype=np.uint8).reshape(side, side, 3)
        embeddings = self._tokenizer.embed(image, sizes=[size])
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
