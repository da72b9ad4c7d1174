"""The pictures of an evaluation: masks worth looking at, code usage, IoU by area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipelines.evaluation.images import ImageSource
from pipelines.image_decoding import open_row_image
from pipelines.storage import Place
from samtok.gallery import GalleryItem, mask_gallery
from samtok.masks import decode_rles
from samtok.metrics.image_measures import IOU
from samtok.metrics.reconstruction import reconstruct
from samtok.metrics.tokenizer_report import TokenizerReport
from samtok.plots import iou_by_area_plot, usage_plot
from samtok.tokenizer import SAMTok

PANEL_FILE: Final = "panel.png"
USAGE_FILE: Final = "usage.png"
AREA_FILE: Final = "area.png"


@dataclass(frozen=True, slots=True)
class FoundMask:
    """Where a measured mask is."""

    reference: str
    """Of its image."""
    position: int
    """Among the masks of the image."""


class Candidates:
    """Remembers the IoU of every measured mask, to choose from; about 8 bytes a mask."""

    def __init__(self) -> None:
        self._images: list[tuple[str, str, np.ndarray, np.ndarray]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Add a row of `measure_stage.MEASURED`."""
        if row["positions"]:
            iou = next(f["values"] for f in row["figures"] if f["name"] == IOU)
            positions = np.array(row["positions"], dtype=np.int32)
            self._images.append(
                (row["image_id"], row["reference"], positions, np.array(iou, dtype=np.float32))
            )

    def choose(self, num_masks: int) -> dict[str, list[FoundMask]]:
        """The worst, those around the median, and the best, `num_masks` of each or fewer."""
        images = sorted(self._images, key=lambda image: image[:2])  # whatever came back first
        if not images or num_masks == 0:
            return {}
        iou = np.concatenate([image[3] for image in images])
        owner = np.repeat(np.arange(len(images)), [len(image[3]) for image in images])
        positions = np.concatenate([image[2] for image in images])
        order = np.argsort(iou, kind="stable")
        middle = max(0, (len(order) - num_masks) // 2)
        chosen = {
            "worst": order[:num_masks],
            "median": order[middle : middle + num_masks],
            "best": order[::-1][:num_masks],
        }
        return {
            title: [FoundMask(images[owner[i]][1], int(positions[i])) for i in places]
            for title, places in chosen.items()
        }


def write_pictures(
    output: Place,
    report: TokenizerReport,
    chosen: dict[str, list[FoundMask]],
    source: ImageSource,
    tokenizer: SAMTok,
) -> list[str]:
    """Draw what there is to draw; returns the names of the pictures written."""
    if report.overall.num_masks == 0:
        return []
    pictures = {
        USAGE_FILE: usage_plot([book.histogram for book in report.books]),
        AREA_FILE: iou_by_area_plot(report),
    }
    if chosen:
        groups = {
            title: [_rebuild(mask, source, tokenizer) for mask in masks]
            for title, masks in chosen.items()
        }
        pictures = {PANEL_FILE: mask_gallery(groups), **pictures}
    for name, picture in pictures.items():
        output.write_png(name, picture)
    return list(pictures)


def _rebuild(found: FoundMask, source: ImageSource, tokenizer: SAMTok) -> GalleryItem:
    row = next(source.read(found.reference))
    mask = row["masks"][found.position]
    image = open_row_image(row)
    masks = decode_rles([mask["rle"]], row["height"], row["width"])
    rebuilt = reconstruct(tokenizer, tokenizer.embed(image), masks)
    codes = " ".join(str(code) for code in rebuilt.codes[0])
    return GalleryItem(
        image=image,
        mask=masks[0],
        reconstruction=rebuilt.masks[0],
        caption=f"IoU {rebuilt.iou[0]:.2f}   {mask['category'] or ''}   codes {codes}",
    )
