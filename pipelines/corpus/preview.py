"""A picture at the end of the job: masks of the first images beside their reconstructions."""

from __future__ import annotations

import io
from typing import Final

from pipelines.corpus.index import iterate_rows
from pipelines.corpus.records import Index, Source
from pipelines.storage import Place
from samtok.masks import decode_rles
from samtok.metrics.reconstruction import reconstruct
from samtok.tokenizer import SAMTok
from samtok.visualize import PanelItem, reconstruction_panel
from samtok.words import format_codes

PREVIEW_FILE: Final = "preview.png"
_MAX_MASKS = 8


def write_preview(
    source: Source, output: Place, index: Index, tokenizer: SAMTok, num_images: int
) -> str | None:
    """Draw the first `num_images` images that have masks; returns the picture's address."""
    items: list[PanelItem] = []
    for row in iterate_rows(output, index.shards):
        if len(items) >= num_images:
            break
        image = source.decode(row["image_id"], row["payload"])
        if image.pixels is None or not image.masks:
            continue
        rles = [mask.rle for mask in image.masks[:_MAX_MASKS]]
        masks = decode_rles(rles, *image.pixels.shape[:2])
        rebuilt = reconstruct(tokenizer, tokenizer.embed(image.pixels), masks)
        items.append(
            PanelItem(
                image=image.pixels,
                masks=masks,
                reconstructions=rebuilt.masks,
                words=format_codes(rebuilt.codes),
                iou=rebuilt.iou,
            )
        )
    if not items:
        return None
    encoded = io.BytesIO()
    reconstruction_panel(items).save(encoded, format="PNG")
    output.write_bytes(PREVIEW_FILE, encoded.getvalue())
    return output.uri(PREVIEW_FILE)
