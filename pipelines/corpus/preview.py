"""A picture at the end of the job: masks of the first images beside their reconstructions."""

from __future__ import annotations

from typing import Final

import numpy as np

from pipelines.corpus.embed_stage import load_maps
from pipelines.corpus.index import iterate_rows
from pipelines.corpus.records import DecodedImage, Index, Source
from pipelines.image_decoding import open_image
from pipelines.storage import Place
from samtok.errors import InputError
from samtok.masks import decode_rles
from samtok.metrics.reconstruction import reconstruct
from samtok.tokenizer import ImageEmbeddings, SAMTok
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
        if not image.masks:
            continue
        try:
            pixels, embeddings = _see(image, tokenizer)
        except InputError:
            continue  # embeddings outlive their images
        rles = [mask.rle for mask in image.masks[:_MAX_MASKS]]
        masks = decode_rles(rles, *pixels.shape[:2])
        rebuilt = reconstruct(tokenizer, embeddings, masks)
        items.append(
            PanelItem(
                image=pixels,
                masks=masks,
                reconstructions=rebuilt.masks,
                words=format_codes(rebuilt.codes),
                iou=rebuilt.iou,
            )
        )
    if not items:
        return None
    output.write_png(PREVIEW_FILE, reconstruction_panel(items))
    return output.uri(PREVIEW_FILE)


def _see(image: DecodedImage, tokenizer: SAMTok) -> tuple[np.ndarray, ImageEmbeddings]:
    """Pixels and embeddings of an image; the backbone runs only if the source holds none."""
    size = (image.height, image.width)
    if image.maps is None:
        assert image.pixels is not None
        return image.pixels, tokenizer.embed(image.pixels)
    pixels, _ = open_image(image.image_uri, size)
    return pixels, load_maps(image.maps, size, tokenizer.config)
