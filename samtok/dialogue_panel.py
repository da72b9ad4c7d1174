"""Dialogues as a picture: what was asked and answered, beside the image with the masks they name.

Mask spans stand in the text as numbered swatches in the colour of their mask. Made for corpora of
dialogues and for what a model answered alike.

Letters: H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from samtok.visualize import list_colors, overlay_masks, scale_image, scale_masks
from samtok.words import format_codes, parse

_BACKGROUND, _INK, _PALE_INK, _UNKNOWN = (
    (255, 255, 255),
    (32, 33, 36),
    (95, 99, 104),
    (190, 190, 190),
)
_GAP: Final = 12
_LINE: Final = 18
_TEXT_SIZE, _TITLE_SIZE = 13, 15
_MAX_LINES: Final = 26
_ALPHA: Final = 0.35
"""Weight of a mask's colour: what a text says of colours should still be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueItem:
    """One dialogue of a panel."""

    title: str
    """A line above it, e.g. the task."""
    image: np.ndarray
    """uint8, shape (H, W, 3), RGB."""
    turns: Sequence[tuple[str, str]]
    """Who speaks, and the text with its mask words."""
    masks: Mapping[str, np.ndarray]
    """Mask words, as `samtok.words.format_codes` writes them → bool (H, W); words of the text that
    are not here are shown in grey."""


def dialogue_panel(
    items: Sequence[DialogueItem],
    *,
    tile_pixels: int = 176,
    text_pixels: int = 420,
    num_columns: int = 2,
) -> Image.Image:
    """Show dialogues: the image with its masks, and the text beside it.

    Args:
        items: at least one.
        tile_pixels: longer side of an image.
        text_pixels: width of the text.
        num_columns: dialogues side by side.

    Returns:
        RGB picture.

    Raises:
        ValueError: no items.
    """
    if not items:
        raise ValueError("a panel needs at least one dialogue")
    cells = [_draw_item(item, tile_pixels, text_pixels) for item in items]
    rows = [cells[start : start + num_columns] for start in range(0, len(cells), num_columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    width = cells[0].width * min(num_columns, len(cells))
    panel = Image.new("RGB", (width, sum(heights)), _BACKGROUND)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            panel.paste(cell, (column * cell.width, sum(heights[:number])))
    return panel


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word, or the swatch of a mask."""

    text: str
    color: tuple[int, ...] | None = None


def _draw_item(item: DialogueItem, tile_pixels: int, text_pixels: int) -> Image.Image:
    named = _name_masks(item)
    image = scale_image(item.image, tile_pixels)
    shown = [item.masks[words] for words in named]
    if shown:
        masks = scale_masks(np.stack(shown), *image.shape[:2])
        image = overlay_masks(image, masks, alpha=_ALPHA)
    palette = [tuple(color) for color in list_colors(len(named)).tolist()]
    colors = dict(zip(named, palette, strict=True))
    font, title_font = ImageFont.load_default(_TEXT_SIZE), ImageFont.load_default(_TITLE_SIZE)
    lines = [
        (number == 0 and speaker, line)
        for speaker, text in item.turns
        for number, line in enumerate(_wrap(_split(text, colors), font, text_pixels))
    ]
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], (False, [_Piece("…")])]
    height = max(image.shape[0], _LINE * (len(lines) + 1)) + _GAP
    indent = 76
    width = tile_pixels + indent + text_pixels + 3 * _GAP
    row = Image.new("RGB", (width, height), _BACKGROUND)
    row.paste(Image.fromarray(image), (_GAP, _GAP // 2))
    draw = ImageDraw.Draw(row)
    left = tile_pixels + 2 * _GAP
    draw.text((left, 0), item.title, fill=_INK, font=title_font)
    for number, (speaker, line) in enumerate(lines, start=1):
        if speaker:
            draw.text((left, number * _LINE), speaker, fill=_PALE_INK, font=font)
        _draw_line(draw, line, (left + indent, number * _LINE), font)
    return row


def _name_masks(item: DialogueItem) -> list[str]:
    """Words with a mask, in order of appearance."""
    texts = (text for _, text in item.turns)
    spans = (words for text in texts for _, words in _read_spans(text))
    return [words for words in dict.fromkeys(spans) if words in item.masks]


def _read_spans(text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Place and canonical words of each mask of a text; words are empty for what cannot be read."""
    for span in parse(text):
        yield (span.start, span.end), format_codes([span.codes])[0] if span.codes else ""


def _split(text: str, colors: Mapping[str, tuple[int, ...]]) -> list[_Piece]:
    numbers = {words: str(number) for number, words in enumerate(colors, start=1)}
    pieces, at = [], 0
    for (start, end), words in _read_spans(text):
        pieces += [_Piece(word) for word in _split_words(text[at:start])]
        pieces.append(_Piece(numbers.get(words, "?"), colors.get(words, _UNKNOWN)))
        at = end
    return [*pieces, *(_Piece(word) for word in _split_words(text[at:]))]


def _split_words(text: str) -> Iterator[str]:
    """Words with the blank behind them; line ends by themselves."""
    for number, line in enumerate(text.split("\n")):
        if number:
            yield "\n"
        for position, word in enumerate(line.split(" ")):
            yield f" {word}" if position else word


def _wrap(
    pieces: list[_Piece], font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int
) -> list[list[_Piece]]:
    lines: list[list[_Piece]] = [[]]
    at = 0.0
    for piece in pieces:
        length = _measure(piece, font)
        if piece.text == "\n" or (at + length > width and lines[-1]):
            lines.append([])
            piece = _Piece(piece.text.removeprefix(" "), piece.color)
            at = 0.0
        if piece.text != "\n":
            lines[-1].append(piece)
            at += length
    return lines


def _measure(piece: _Piece, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> float:
    return font.getlength(piece.text) + (8 if piece.color else 0)


def _draw_line(
    draw: ImageDraw.ImageDraw,
    line: list[_Piece],
    corner: tuple[int, int],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    x, y = float(corner[0]), corner[1]
    for piece in line:
        length = _measure(piece, font)
        if piece.color is None:
            draw.text((x, y), piece.text, fill=_INK, font=font)
        else:
            draw.rectangle((x + 1, y + 1, x + length - 2, y + _LINE - 3), fill=piece.color)
            draw.text((x + 4, y), piece.text, fill=_pick_ink(piece.color), font=font)
        x += length


def _pick_ink(color: tuple[int, ...]) -> tuple[int, int, int]:
    """Black or white, whichever is read more easily on a colour."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
