"""Single masks close up, beside what their words rebuild: the worst, the typical and the best.

Where a panel of whole images (`samtok.visualize`) shows what a tokenizer does on average, this
shows where to look.

Letters: H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from samtok.masks import compute_boxes
from samtok.metrics.stability import dilate_masks

_BACKGROUND, _INK, _PALE_INK = (255, 255, 255), (32, 33, 36), (95, 99, 104)
_GAP: Final = 4
_COLUMN_GAP: Final = 28
_LINE: Final = 18
_TITLE_SIZE, _TEXT_SIZE = 15, 12
_MARGIN: Final = 0.3
"""Surroundings shown on each side, as a share of the longer side of what is shown."""
_MIN_SIDE_PIXELS: Final = 16
_TILES: Final = 3
_MISSED, _ADDED = (255, 0, 190), (0, 225, 255)
_LEGEND: Final = "image, mask, and what its words rebuild: missed magenta, added cyan"
_LINE_COLOR: Final = (235, 235, 235)
_DIMMING: Final = 0.3
"""What is left of the brightness outside a mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryItem:
    """One mask of a gallery."""

    image: np.ndarray
    """uint8, shape (H, W, 3), RGB: the whole image."""
    mask: np.ndarray
    """bool, shape (H, W), not empty."""
    reconstruction: np.ndarray
    """bool, shape (H, W)."""
    caption: str
    """One line, e.g. IoU, category and codes."""


def mask_gallery(
    groups: Mapping[str, Sequence[GalleryItem]], *, tile_pixels: int = 120
) -> Image.Image:
    """Show each group as a column, each mask as three tiles: image, mask, and rebuilt mask.

    Tiles are cut around mask and reconstruction together, so that a miss is seen as one. A mask is
    lit, its surroundings dimmed, and a pale line lies around it; in the third tile what the
    reconstruction misses is magenta, and what it adds is cyan.

    Args:
        groups: title of a column → its masks; at least one mask in all.
        tile_pixels: side of a tile; cuts are scaled to it, up or down.

    Returns:
        RGB picture.

    Raises:
        ValueError: there is no mask.
    """
    num_rows = max((len(items) for items in groups.values()), default=0)
    if num_rows == 0:
        raise ValueError("a gallery needs at least one mask")
    column_width = _TILES * (tile_pixels + _GAP) - _GAP
    row_height = tile_pixels + _LINE + 2 * _GAP
    size = (
        len(groups) * (column_width + _COLUMN_GAP) + _COLUMN_GAP,
        3 * _LINE + num_rows * row_height + _GAP,
    )
    gallery = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(gallery)
    text, title_font = ImageFont.load_default(_TEXT_SIZE), ImageFont.load_default(_TITLE_SIZE)
    draw.text((_COLUMN_GAP, _LINE / 4), _LEGEND, fill=_PALE_INK, font=text)
    for column, (title, items) in enumerate(groups.items()):
        left = _COLUMN_GAP + column * (column_width + _COLUMN_GAP)
        draw.text((left, 1.5 * _LINE), title, fill=_INK, font=title_font)
        for row, item in enumerate(items):
            top = 3 * _LINE + row * row_height
            for number, tile in enumerate(_draw_tiles(item, tile_pixels)):
                gallery.paste(tile, (left + number * (tile_pixels + _GAP), top))
            draw.text((left, top + tile_pixels + 1), item.caption, fill=_PALE_INK, font=text)
    return gallery


def find_window(mask: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a cut around a mask: square with a margin, as far as the image goes.

    Args:
        mask: bool, shape (H, W), not empty.
        height: of the image, pixels.
        width: of the image, pixels.

    Raises:
        InputError: ``mask_empty``.
    """
    x0, y0, x1, y1 = (int(side) for side in compute_boxes(mask[None])[0])
    longer = max(x1 - x0, y1 - y0) + 1
    side = max(_MIN_SIDE_PIXELS, round(longer * (1 + 2 * _MARGIN)))
    return _cut(y0, y1, side, height), _cut(x0, x1, side, width)


def _cut(first: int, last: int, side: int, length: int) -> slice:
    side = min(side, length)
    start = min(max(0, (first + last + 1 - side) // 2), length - side)
    return slice(start, start + side)


def _draw_tiles(item: GalleryItem, tile_pixels: int) -> list[Image.Image]:
    window = find_window(item.mask | item.reconstruction, *item.mask.shape)
    image, mask, rebuilt = item.image[window], item.mask[window], item.reconstruction[window]
    compared = _light(image, mask & rebuilt)
    compared[mask & ~rebuilt] = _MISSED
    compared[rebuilt & ~mask] = _ADDED
    lit = _light(image, mask)
    lit[dilate_masks(mask[None])[0] & ~mask] = _LINE_COLOR
    return [_fit(tile, tile_pixels) for tile in (image, lit, compared)]


def _light(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image, grey and dark outside the mask; uint8 (H, W, 3)."""
    grey = image.mean(axis=2, keepdims=True) * _DIMMING
    return np.where(mask[..., None], image, grey.round()).astype(np.uint8)


def _fit(tile: np.ndarray, side: int) -> Image.Image:
    scale = side / max(tile.shape[:2])
    height, width = (max(1, round(length * scale)) for length in tile.shape[:2])
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (side, side), _BACKGROUND)
    scaled = Image.fromarray(tile).resize((width, height), method)
    square.paste(scaled, ((side - width) // 2, (side - height) // 2))
    return square
