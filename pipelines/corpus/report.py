"""The tables at the end of the jobs over a corpus."""

from __future__ import annotations

import numpy as np
from rich.table import Table

from pipelines.corpus.run import RunSummary
from pipelines.progress import MIN_SECONDS_FOR_RATES
from samtok.metrics.codebook import usage_from_histogram
from samtok.metrics.segmentation import AREA_BINS
from samtok.tasks import TASK_NAMES

_BIN_TEXT = {"small": "small (< 32² px)", "medium": "medium (< 96² px)", "large": "large"}


def find_imbalance(summary: RunSummary) -> str | None:
    """A sentence where rows were lost on the way, None where all are accounted for."""
    if summary.is_accounted:
        return None
    return "rows in differ from rows out + rows quarantined"


def words_table(summary: RunSummary) -> Table:
    """Counts, quarantine by reason, reconstruction by area bin, codebook use and throughput."""
    figures = summary.figures
    table = _begin_table("mask words", summary)
    if figures.iou_count:
        total = sum(figures.iou_sum.values()) / sum(figures.iou_count.values())
        table.add_row("mean reconstruction IoU", f"{total:.4f}")
        for name in AREA_BINS:
            if count := figures.iou_count.get(name, 0):
                mean = figures.iou_sum[name] / count
                table.add_row(f"  {_BIN_TEXT[name]}", f"{mean:.4f}  over {count:,} masks")
    if figures.code_histogram:
        usage = usage_from_histogram(np.array(figures.code_histogram))
        for book, (used, perplexity) in enumerate(
            zip(usage.codes_in_use, usage.perplexity, strict=True)
        ):
            table.add_row(
                f"codes in use, book {book}", f"{used} of 256, perplexity {perplexity:.1f}"
            )
    table.add_row("masks that share both words on one image", f"{figures.num_collisions:,}")
    table.add_row("images embedded by this run", f"{summary.images_embedded_now:,}")
    return _end_table(table, summary)


def corpus_table(summary: RunSummary) -> Table:
    """Counts, quarantine by reason, texts, carried bytes and throughput of an ingestion."""
    table = _begin_table("corpus", summary)
    table.add_row("texts", f"{summary.figures.num_texts:,}")
    table.add_row("bytes of carried images", f"{summary.figures.num_bytes:,}")
    return _end_table(table, summary)


def embeddings_table(summary: RunSummary) -> Table:
    """Counts, quarantine by reason, bytes and throughput of an embedding run."""
    table = _begin_table("image embeddings", summary)
    table.add_row("images with masks, embedded", f"{summary.figures.num_embedded:,}")
    table.add_row("images embedded by this run", f"{summary.images_embedded_now:,}")
    table.add_row("bytes of embeddings", f"{summary.figures.num_bytes:,}")
    return _end_table(table, summary)


def dialogues_table(summary: RunSummary) -> Table:
    """Texts in, used and left out by reason, and conversations by task with their share."""
    figures = summary.figures
    title = f"conversations in {summary.output}"
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_row("images and general conversations in", f"{figures.num_images:,}")
    table.add_row("texts in", f"{summary.num_texts_listed:,}")
    table.add_row("texts used", f"{figures.num_texts:,}")
    table.add_row("texts the mixture did not draw", f"{figures.num_undrawn_texts:,}")
    table.add_row("texts quarantined", f"{figures.num_quarantined_texts:,}")
    _add_reasons(table, summary)
    total = sum(figures.num_conversations.values())
    table.add_row("conversations", f"{total:,}")
    for task in TASK_NAMES:
        if count := figures.num_conversations.get(task, 0):
            table.add_row(f"  {task}", f"{count:,}  {count / total:.1%}")
    return _end_table(table, summary, items="conversations")


def _begin_table(what: str, summary: RunSummary) -> Table:
    figures = summary.figures
    table = Table(title=f"{what} in {summary.output}", show_header=False, title_justify="left")
    table.add_row("images in", f"{figures.num_images:,}")
    table.add_row("images out", f"{summary.num_images_out:,}")
    table.add_row("masks in", f"{summary.num_masks_listed:,}")
    table.add_row("masks out", f"{figures.num_masks:,}")
    table.add_row("masks quarantined", f"{summary.num_quarantined_masks:,}")
    _add_reasons(table, summary)
    return table


def _add_reasons(table: Table, summary: RunSummary) -> None:
    by_reason = sorted(summary.figures.quarantined.items(), key=lambda item: -item[1])
    for reason, count in by_reason:
        table.add_row(f"  {reason}", f"{count:,}")


def _end_table(table: Table, summary: RunSummary, items: str = "masks") -> Table:
    if summary.seconds_streaming >= MIN_SECONDS_FOR_RATES:
        images = summary.images_streamed / summary.seconds_streaming
        rate = summary.items_streamed / summary.seconds_streaming
        table.add_row("throughput, workers up", f"{images:.1f} images/s, {rate:.1f} {items}/s")
    table.add_row("seconds, all in", f"{summary.seconds:.1f}")
    return table
