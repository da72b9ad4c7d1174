"""Tokenized images → the rows of mask words, with their figures."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines import columns
from pipelines.corpus.commits import Block, Figures
from samtok.masks import rle_area, rle_box
from samtok.metrics.codebook import code_histogram, count_collisions
from samtok.metrics.segmentation import area_bin
from samtok.words import format_codes

WORDS_FOLDER: Final = "words"


def build_words_block(images: pa.Table) -> Block:
    """A block of mask words from images of `columns.TOKENIZED`."""
    rows = images.to_pylist()
    words = [row for image in rows for row in mask_rows(image)]
    return Block(
        image_ids=[image["image_id"] for image in rows],
        table=pa.Table.from_pylist(words, schema=columns.MASK_WORDS),
        quarantined=[row for image in rows for row in image["quarantined"]],
        figures=_measure(rows, words),
    )


def mask_rows(image: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of `columns.MASK_WORDS` of one tokenized image."""
    codes = np.array(image["codes"], dtype=np.int64).reshape(-1, 2)
    iou = image["reconstruction_iou"] or [None] * len(codes)
    shared = {key: image[key] for key in ("image_id", "image_uri", "height", "width", "source")}
    return [
        {
            **shared,
            "mask_id": mask["mask_id"],
            "category": mask["category"],
            "rle": mask["rle"],
            "bbox": rle_box(mask["rle"]).tolist(),
            "area": rle_area(mask["rle"]),
            "codes": pair.tolist(),
            "words": words,
            "reconstruction_iou": value,
            "collides": bool(collides),
        }
        for mask, pair, words, value, collides in zip(
            image["masks"], codes, format_codes(codes), iou, count_collisions(codes), strict=True
        )
    ]


def _measure(images: list[dict[str, Any]], words: list[dict[str, Any]]) -> Figures:
    iou_sum: Counter[str] = Counter()
    iou_count: Counter[str] = Counter()
    for row in words:
        if row["reconstruction_iou"] is not None:
            iou_sum[area_bin(row["area"])] += row["reconstruction_iou"]
            iou_count[area_bin(row["area"])] += 1
    codes = np.array([row["codes"] for row in words], dtype=np.int64).reshape(-1, 2)
    return Figures(
        num_images=len(images),
        num_rejected_images=sum(image["is_rejected"] for image in images),
        num_masks=len(words),
        num_embedded=sum(image["was_embedded"] for image in images),
        num_collisions=sum(row["collides"] for row in words),
        code_histogram=code_histogram(codes).tolist(),
        iou_sum=dict(iou_sum),
        iou_count=dict(iou_count),
    )
