"""A picture of scenes for people: each with its masks and its caption."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from samtok.scenes.language import describe_scene
from samtok.scenes.scene import Scene

_TILE, _GAP, _LINE, _NUM_LINES = 220, 14, 16, 4
_LETTERS_PER_LINE: Final = 72
_PAPER, _INK = (255, 255, 255), (45, 47, 52)


def build_contact_sheet(
    scenes: Sequence[Scene], overlays: Sequence[np.ndarray], *, seed: int = 0, num_columns: int = 3
) -> Image.Image:
    """Lay out scenes, each beside a picture of its masks and above its caption.

    Args:
        scenes: at least one.
        overlays: uint8, shape (H, W, 3), RGB: each scene with its masks drawn over it.
        seed: of the captions, as `describe_scene` takes it.
        num_columns: scenes beside each other.

    Returns:
        RGB picture.

    Raises:
        ValueError: no scenes, or not as many overlays.
    """
    if not scenes or len(scenes) != len(overlays):
        raise ValueError(f"{len(scenes)} scenes with {len(overlays)} overlays; give one for each")
    cell_width, cell_height = 2 * _TILE + 4 + _GAP, _TILE + _NUM_LINES * _LINE + _GAP + 8
    num_rows = -(-len(scenes) // num_columns)
    size = (num_columns * cell_width + _GAP, num_rows * cell_height + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    for position, (scene, overlay) in enumerate(zip(scenes, overlays, strict=True)):
        row, column = divmod(position, num_columns)
        left, top = _GAP + column * cell_width, _GAP + row * cell_height
        sheet.paste(_fit(scene.image), (left, top))
        sheet.paste(_fit(overlay), (left + _TILE + 4, top))
        caption = next(
            (t.text for t in describe_scene(scene, seed=seed) if t.kind == "caption"), ""
        )
        _write_caption(sheet, caption, left, top + _TILE + 6)
    return sheet


def _fit(picture: np.ndarray) -> Image.Image:
    """A tile with square pixels, on paper if the picture is not square."""
    scale = _TILE / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    tile = Image.new("RGB", (_TILE, _TILE), _PAPER)
    scaled = Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)
    tile.paste(scaled, ((_TILE - width) // 2, (_TILE - height) // 2))
    return tile


def _write_caption(sheet: Image.Image, caption: str, left: int, top: int) -> None:
    lines = textwrap.wrap(
        caption, _LETTERS_PER_LINE, max_lines=_NUM_LINES, placeholder=" …", break_long_words=False
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, line in enumerate(lines):
        draw.text((left, top + number * _LINE), line, fill=_INK, font=font)
