"""Plots: use of a tokenizer's codebooks, overlap by size of mask, and figures over training steps.

Figures are drawn without pyplot, whose global state would outlive them.

Letters: D books, K codebook size.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from samtok.metrics.codebook import usage_from_histogram
from samtok.metrics.image_measures import FIRST_CODE_IOU, IOU
from samtok.metrics.tokenizer_report import TokenizerReport

_DOTS_PER_INCH: Final = 110
_INK, _PALE, _ACCENT = "#202124", "#9aa0a6", "#1a73e8"
_SHORT, _LONGER = "-", "--"
_TWO_WORDS_BITS: Final = 16
_MARKED_STEPS: Final = 20


def usage_plot(histograms: np.ndarray | Sequence[Sequence[int]]) -> Image.Image:
    """How often the codes of each book occur, most frequent first, beside even use.

    Args:
        histograms: integer, shape (D, K), as `samtok.metrics.codebook.code_histogram` makes.

    Returns:
        RGB picture; each book's title gives codes in use, dead codes and perplexity.
    """
    counts = np.asarray(histograms, dtype=np.int64)
    usage = usage_from_histogram(counts)
    num_books, size = counts.shape
    figure = Figure(figsize=(5.2 * num_books, 3.6), layout="constrained")
    for book, axes in enumerate(figure.subplots(1, num_books, squeeze=False)[0]):
        shares = np.sort(counts[book])[::-1] / max(counts[book].sum(), 1)
        used = usage.codes_in_use[book]
        axes.fill_between(np.arange(size), shares, step="mid", color=_ACCENT, alpha=0.85)
        axes.axhline(1 / size, color=_INK, linestyle="--", linewidth=1, label="even use")
        if used < size:
            axes.axvspan(used - 0.5, size - 0.5, color=_PALE, alpha=0.25, label="dead codes")
        axes.set_title(
            f"book {book}: {used} of {size} codes in use, {size - used} dead, "
            f"perplexity {usage.perplexity[book]:.1f}",
            fontsize=10,
        )
        axes.set_xlim(-0.5, size - 0.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("codes, most frequent first")
        axes.set_ylabel("share of masks")
        axes.legend(frameon=False)
        _tidy(axes)
    return _render(figure)


def iou_by_area_plot(report: TokenizerReport) -> Image.Image:
    """Mean IoU of two words, of the first alone and of the baselines, by fine area bin.

    Args:
        report: of an evaluation; bins without masks are left out. Descriptions longer than two
            words are dashed.

    Returns:
        RGB picture.
    """
    lines = [(IOU, "two words", _TWO_WORDS_BITS), (FIRST_CODE_IOU, "first word alone", 8)]
    lines += [(b["name"], b["title"], b["num_bits"]) for b in report.baselines]
    filled = {name: group for name, group in report.by_fine_area.items() if group.num_masks}
    figure = Figure(figsize=(9.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, (name, title, num_bits) in enumerate(lines):
        axes.plot(
            range(len(filled)),
            [group.means.get(name, np.nan) for group in filled.values()],
            label=f"{title} ({num_bits:,} bits)",
            color=_ACCENT if number == 0 else f"C{number}",
            linewidth=2.6 if number == 0 else 1.3,
            linestyle=_SHORT if num_bits <= _TWO_WORDS_BITS else _LONGER,
            marker="o",
            markersize=4,
            zorder=3 if number == 0 else 2,
        )
    axes.set_xticks(range(len(filled)))
    axes.set_xticklabels(
        [f"{name}\n{group.num_masks:,} masks" for name, group in filled.items()], fontsize=8
    )
    axes.set_ylim(0, 1)
    axes.set_xlabel("area of the mask, pixels")
    axes.set_ylabel("mean IoU")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _tidy(axes)
    return _render(figure)


def curves_plot(
    panels: Mapping[str, Mapping[str, tuple[Sequence[int], Sequence[float]]]],
) -> Image.Image:
    """Figures over training steps, a panel each, side by side.

    Args:
        panels: by title, the lines of a panel; each, by its name, has steps and as many values.

    Returns:
        RGB picture. A name has the same colour in all panels.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    figure = Figure(figsize=(3.9 * len(panels), 3.2), layout="constrained")
    for axes, (title, lines) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for name, (steps, values) in lines.items():
            colour = f"C{names.index(name)}"
            marker = "o" if len(steps) <= _MARKED_STEPS else None
            axes.plot(steps, values, label=name, color=colour, marker=marker, markersize=4)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.legend(frameon=False, fontsize=8)
        _tidy(axes)
    return _render(figure)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=_PALE, alpha=0.3)


def _render(figure: Figure) -> Image.Image:
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=_DOTS_PER_INCH)
    return Image.open(encoded).convert("RGB")
