"""The stage that sees how much decoded masks overlap, as Ray Data runs it in a pool of actors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import torch

from pipelines.evaluation.measure_stage import check_masks
from pipelines.image_decoding import open_row_image
from samtok.errors import InputError
from samtok.rewards.estimation import tally_overlaps
from samtok.tokenizer import SAMTok
from samtok.tokenizer.image_transform import ImageInput
from samtok.tokenizer.mask_tokenizer import Masks

OVERLAPS: Final = pa.schema(
    [
        ("cells", pa.list_(pa.int32())),
        ("sums", pa.list_(pa.float64())),
        ("counts", pa.list_(pa.int64())),
    ]
)
"""What comes back of a block: the cells of an `ExpectedIouTally`."""


class OverlapStage:
    """Decode masks of a block's images, and those of its other images, on each of them.

    Columns in: `images.IMAGES`, a block at a time. Columns out: `OVERLAPS`. State held: the
    tokenizer. Images that cannot be read are left out; measuring quarantines them.

    Args:
        tokenizer: as for ``SAMTok.from_pretrained``.
        device: cpu, cuda or auto.
        num_threads: torch threads on the CPU.
        seed: of the choice of the other masks.
    """

    def __init__(self, tokenizer: str, *, device: str, num_threads: int, seed: int) -> None:
        torch.set_num_threads(num_threads)
        self._tokenizer = SAMTok.from_pretrained(tokenizer, device=device)
        self._seed = seed

    def __call__(self, table: pa.Table) -> pa.Table:
        """Columns out for columns in."""
        tally = tally_overlaps(self._tokenizer, _open_images(table), seed=self._seed)
        cells, sums, counts = tally.cells()
        row = {"cells": cells.tolist(), "sums": sums.tolist(), "counts": counts.tolist()}
        return pa.Table.from_pylist([row], schema=OVERLAPS)


def _open_images(table: pa.Table) -> Iterator[tuple[ImageInput, Masks]]:
    for row in table.to_pylist():
        chosen, _ = check_masks(row)
        if not chosen:
            continue
        try:
            image = open_row_image(row)
        except InputError:
            continue
        yield image, [row["masks"][position]["rle"] for position in chosen]
