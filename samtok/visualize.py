"""Pictures for people: masks drawn over images, and panels of masks beside their reconstructions.

The end of a run: the tokenization job, training and evaluation show here what the numbers mean.

Letters: N masks, H W pixels.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from samtok.words import MISSING_CODE, parse

_GOLDEN_RATIO = 0.61803398875
_TONES = ((0.85, 0.95), (0.85, 0.75), (0.5, 1.0), (0.95, 0.6), (0.65, 0.85))
"""Saturation and value."""
_TITLES = ("image", "masks", "rebuilt from their words")
_BACKGROUND, _INK, _PALE_INK = (255, 255, 255), (32, 33, 36), (95, 99, 104)
_GAP, _LINE, _SWATCH = 12, 18, 11
_LEGEND_WIDTH = 176
_TITLE_SIZE, _TEXT_SIZE = 15, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelItem:
    """One image of a panel: its masks, what their words rebuild, and how well."""

    image: np.ndarray
    """uint8, shape (H, W, 3), RGB."""
    masks: np.ndarray
    """bool, shape (N, H, W)."""
    reconstructions: np.ndarray
    """bool, shape (N, H, W), in the order of `masks`."""
    words: Sequence[str]
    """N mask words, as `samtok.words.format_codes` writes them."""
    iou: Sequence[float] | np.ndarray
    """N overlaps of mask and reconstruction, 0..1."""


def list_colors(num_colors: int) -> np.ndarray:
    """Colours that stay apart: uint8, shape (num_colors, 3), RGB; a longer list begins the same."""
    colors = []
    for position in range(num_colors):
        hue = (0.02 + position * _GOLDEN_RATIO) % 1.0
        # Hues come near to each other again after 8, 13, 21 colours; by then the tone is another.
        saturation, value = _TONES[position % len(_TONES)]
        colors.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return (np.array(colors).reshape(-1, 3) * 255).round().astype(np.uint8)


def overlay_masks(image: np.ndarray, masks: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Draw masks over an image, each in its colour with a thin outline, small ones on top.

    Args:
        image: uint8, shape (H, W, 3), RGB; not changed.
        masks: bool, shape (N, H, W).
        alpha: weight of the colour inside a mask, 0..1; outlines are opaque.

    Returns:
        uint8, shape (H, W, 3), RGB.

    Raises:
        ValueError: the sizes of image and masks differ.
    """
    if masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        raise ValueError(f"masks {masks.shape} do not fit an image of shape {image.shape}")
    drawn = image.astype(np.float32)
    colors = list_colors(len(masks)).astype(np.float32)
    order = np.argsort(-np.count_nonzero(masks, axis=(1, 2)), kind="stable")
    for position in order:
        mask = masks[position]
        drawn[mask] = (1 - alpha) * drawn[mask] + alpha * colors[position]
        drawn[_find_border(mask)] = colors[position]
    return drawn.round().astype(np.uint8)


def reconstruction_panel(items: Sequence[PanelItem], *, tile_pixels: int = 256) -> Image.Image:
    """Show images with their masks beside what the mask words rebuild, a row for each image.

    Beside the three tiles stands a legend: each mask's colour, its two per-book codes
    and its IoU, for as many masks as fit.

    Args:
        items: at least one.
        tile_pixels: longer side of a tile; images are scaled to it, up or down.

    Returns:
        RGB picture.

    Raises:
        ValueError: no items.
    """
    if not items:
        raise ValueError("a panel needs at least one image")
    rows = [_draw_row(item, tile_pixels) for item in items]
    header = _draw_header(rows[0].width, tile_pixels)
    height = header.height + sum(row.height + _GAP for row in rows)
    panel = Image.new("RGB", (rows[0].width, height), _BACKGROUND)
    panel.paste(header, (0, 0))
    top = header.height
    for row in rows:
        panel.paste(row, (0, top))
        top += row.height + _GAP
    return panel


def _draw_header(width: int, tile_pixels: int) -> Image.Image:
    header = Image.new("RGB", (width, _GAP + 2 * _LINE), _BACKGROUND)
    draw = ImageDraw.Draw(header)
    for column, title in enumerate((*_TITLES, "codes and IoU")):
        left = _GAP + column * (tile_pixels + _GAP)
        draw.text((left, _GAP), title, fill=_INK, font=ImageFont.load_default(_TITLE_SIZE))
    return header


def _draw_row(item: PanelItem, tile_pixels: int) -> Image.Image:
    image = scale_image(item.image, tile_pixels)
    height, width = image.shape[:2]
    tiles = [
        image,
        overlay_masks(image, scale_masks(item.masks, height, width)),
        overlay_masks(image, scale_masks(item.reconstructions, height, width)),
    ]
    row_width = len(tiles) * (tile_pixels + _GAP) + _GAP + _LEGEND_WIDTH + _GAP
    row = Image.new("RGB", (row_width, max(height, 3 * _LINE)), _BACKGROUND)
    for column, tile in enumerate(tiles):
        centring = (tile_pixels - width) // 2
        row.paste(Image.fromarray(tile), (_GAP + column * (tile_pixels + _GAP) + centring, 0))
    _draw_legend(row, item, left=_GAP + len(tiles) * (tile_pixels + _GAP))
    return row


def _draw_legend(row: Image.Image, item: PanelItem, left: int) -> None:
    draw = ImageDraw.Draw(row)
    font = ImageFont.load_default(_TEXT_SIZE)
    num_lines = row.height // _LINE
    num_shown = len(item.words) if len(item.words) <= num_lines else num_lines - 1
    colors = list_colors(num_shown).tolist()
    for line in range(num_shown):
        top = line * _LINE
        swatch = (left, top + 3, left + _SWATCH, top + 3 + _SWATCH)
        draw.rectangle(swatch, fill=tuple(colors[line]))
        for column, code in enumerate(_read_codes(item.words[line])):
            draw.text((left + 46 + 32 * column, top), code, fill=_INK, font=font, anchor="ra")
        draw.text((left + 106, top), f"IoU {item.iou[line]:.2f}", fill=_PALE_INK, font=font)
    if num_shown < len(item.words):
        text = f"and {len(item.words) - num_shown} more"
        draw.text((left, num_shown * _LINE), text, fill=_PALE_INK, font=font)


def _read_codes(words: str) -> list[str]:
    """The two codes of a mask, short enough for a legend; a dash for a missing one."""
    codes = next((span.codes for span in parse(words) if span.codes), ())
    return ["-" if code == MISSING_CODE else str(code) for code in codes]


def scale_image(image: np.ndarray, tile_pixels: int) -> np.ndarray:
    """Bring the longer side to `tile_pixels`; uint8 (H, W, 3) → uint8 (height, width, 3)."""
    scale = tile_pixels / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    # Enlarged pixels stay square, as the masks' do.
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize((width, height), method))


def scale_masks(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest-pixel resize; bool (N, H, W) → bool (N, height, width)."""
    rows = np.arange(height) * masks.shape[1] // height
    columns = np.arange(width) * masks.shape[2] // width
    return masks[:, rows[:, None], columns[None, :]]


def _find_border(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a side on its background or on the image's edge."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    border: np.ndarray = mask & ~inner
    return border
