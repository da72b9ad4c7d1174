"""The stage that holds the tokenizer in an evaluation, as Ray Data runs it in a pool of actors."""

from __future__ import annotations

import zlib
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch

from pipelines import columns
from pipelines.image_decoding import open_row_image
from pipelines.quarantined_row import QuarantinedRow
from samtok.errors import InputError
from samtok.masks import rle_area
from samtok.metrics.image_measures import ImageMeasures, MeasureConfig, measure_image
from samtok.tokenizer import SAMTok

MEASURED: Final = pa.schema(
    [
        ("reference", pa.string()),
        ("image_id", pa.string()),
        ("num_masks", pa.int64()),  # rows in: measured, crowds and quarantined
        ("num_crowds", pa.int64()),  # regions of many things, left out
        ("positions", pa.list_(pa.int32())),  # of the measured masks among the image's masks
        ("categories", pa.list_(pa.string())),
        ("codes", pa.list_(pa.list_(pa.int16(), 2))),
        ("areas", pa.list_(pa.int64())),
        (
            "figures",
            pa.list_(pa.struct([("name", pa.string()), ("values", pa.list_(pa.float32()))])),
        ),
        ("quarantined", pa.list_(pa.struct(list(columns.QUARANTINE)))),
    ]
)
"""What comes back of an image: a few numbers per mask."""


class MeasureStage:
    """Measure all masks of each image, in a pool of actors.

    Columns in: `images.IMAGES`. Columns out: `MEASURED`. State held: the tokenizer.

    Args:
        tokenizer: as for ``SAMTok.from_pretrained``.
        device: cpu, cuda or auto.
        num_threads: torch threads on the CPU.
        config: what to measure.
        seed: of the perturbations; each image gets its own from it and its id, so that figures do
            not depend on who measures it.
    """

    def __init__(
        self, tokenizer: str, *, device: str, num_threads: int, config: MeasureConfig, seed: int
    ) -> None:
        torch.set_num_threads(num_threads)
        self._tokenizer = SAMTok.from_pretrained(tokenizer, device=device)
        self._config = config
        self._seed = seed

    def __call__(self, table: pa.Table) -> pa.Table:
        """Columns out for columns in."""
        rows = [self._measure(row) for row in table.to_pylist()]
        return pa.Table.from_pylist(rows, schema=MEASURED)

    def _measure(self, row: dict[str, Any]) -> dict[str, Any]:
        masks = row["masks"] or []
        chosen, quarantined = check_masks(row)
        try:
            found = self._measure_masks(row, [masks[position]["rle"] for position in chosen])
        except InputError as error:
            quarantined += [_quarantine(row, masks[p]["mask_id"], error) for p in chosen]
            chosen, found = [], None
        except Exception as error:
            error.add_note(f"while measuring image {row['image_id']} ({row['image_uri']})")
            raise
        return {
            "reference": row["reference"],
            "image_id": row["image_id"],
            "num_masks": len(masks),
            "num_crowds": sum(bool(mask["is_crowd"]) for mask in masks),
            "positions": chosen,
            "categories": [masks[position]["category"] or "" for position in chosen],
            "quarantined": quarantined,
            **_to_columns(found),
        }

    def _measure_masks(self, row: dict[str, Any], rles: list[Any]) -> ImageMeasures | None:
        if not rles:
            return None
        seed = [self._seed, zlib.crc32(row["image_id"].encode())]
        return measure_image(
            self._tokenizer, open_row_image(row), rles, config=self._config, seed=seed
        )


def check_masks(row: dict[str, Any]) -> tuple[list[int], list[dict[str, Any]]]:
    """Part the masks of an image into those to measure and those that cannot be.

    Args:
        row: of `images.IMAGES`.

    Returns:
        Positions of the masks to measure, and rows of `columns.QUARANTINE`; crowds are in neither.
    """
    chosen, quarantined = [], []
    size = [row["height"], row["width"]]
    for position, mask in enumerate(row["masks"] or []):
        if mask["is_crowd"]:
            continue
        try:
            if rle_area(mask["rle"]) == 0:
                raise InputError("mask_empty", "the mask has no pixel")
            if list(mask["rle"]["size"]) != size:
                detail = f"the RLE has [height, width] {mask['rle']['size']}, its image {size}"
                raise InputError("rle_size_mismatch", detail)
            chosen.append(position)
        except InputError as error:
            quarantined.append(_quarantine(row, mask["mask_id"], error))
    return chosen, quarantined


def measures_of(row: dict[str, Any]) -> ImageMeasures:
    """A row of `MEASURED`, as a tally takes it."""
    return ImageMeasures(
        codes=np.array(row["codes"], dtype=np.int64).reshape(-1, 2),
        areas=np.array(row["areas"], dtype=np.int64),
        figures={
            figure["name"]: np.array(figure["values"], dtype=np.float32)
            for figure in row["figures"]
        },
    )


def _to_columns(found: ImageMeasures | None) -> dict[str, Any]:
    if found is None:
        return {"codes": [], "areas": [], "figures": []}
    return {
        "codes": found.codes.tolist(),
        "areas": found.areas.tolist(),
        "figures": [
            {"name": name, "values": values.tolist()} for name, values in found.figures.items()
        ],
    }


def _quarantine(row: dict[str, Any], mask_id: str | None, error: InputError) -> dict[str, Any]:
    quarantined = QuarantinedRow.of(
        error,
        source=row["source"],
        image_id=row["image_id"],
        mask_id=mask_id,
        stage="measure",
    )
    return asdict(quarantined)
