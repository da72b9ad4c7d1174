"""The evaluation of a tokenizer as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipelines.evaluation.sections import Section
from pipelines.evaluation.summary import EvaluationSummary
from samtok.metrics.image_measures import BOUNDARY_F, FIRST_CODE_IOU, IOU
from samtok.metrics.segmentation import AREA_BINS
from samtok.metrics.tokenizer_report import GroupMeans

_BIN_TEXT: Final = {"small": "< 32² px", "medium": "32²-96² px", "large": "≥ 96² px"}
_NONE: Final = "-"


def build_sections(
    summary: EvaluationSummary, *, max_categories: int | None = None
) -> list[Section]:
    """The tables of an evaluation, those without rows left out.

    Args:
        summary: of the evaluation.
        max_categories: show only the most frequent; all where not given.
    """
    sections = [
        _show_counts(summary),
        _show_descriptions(summary),
        _show_groups("by area of the mask, pixels", "area", summary.report.by_fine_area),
        _show_categories(summary, max_categories),
        _show_books(summary),
        _show_stability(summary),
    ]
    return [section for section in sections if section.rows]


def _share(means: Mapping[str, float], name: str) -> str:
    return f"{means[name]:.3f}" if name in means else _NONE


def _show_counts(summary: EvaluationSummary) -> Section:
    report = summary.report
    rows: list[tuple[str, ...]] = [
        ("tokenizer", summary.tokenizer),
        ("fingerprint", summary.tokenizer_fingerprint[:16]),
        ("images", f"{summary.num_images_seen:,}"),
        ("masks in", f"{summary.num_masks_listed:,}"),
        ("masks measured", f"{report.overall.num_masks:,}"),
        ("crowds left out", f"{summary.num_crowds:,}"),
        ("masks quarantined", f"{sum(summary.quarantined.values()):,}"),
        *((f"  {reason}", f"{count:,}") for reason, count in summary.quarantined.items()),
        ("mean IoU", _share(report.overall.means, IOU)),
        ("mean boundary F", _share(report.overall.means, BOUNDARY_F)),
        ("masks that share both words on one image", f"{report.num_colliding_masks:,}"),
    ]
    return Section(title=f"evaluation in {summary.output}", header=("", "value"), rows=rows)


def _show_descriptions(summary: EvaluationSummary) -> Section:
    """Two words and everything they are compared with: mean IoU over all and COCO's bins."""
    report = summary.report
    described = [
        ("two words", "2", "16", IOU),
        ("first word alone", "1", "8", FIRST_CODE_IOU),
        *(
            (b["title"], f"{b['num_numbers']:,}", f"{b['num_bits']:,}", b["name"])
            for b in report.baselines
        ),
    ]
    groups = [report.overall, *(report.by_area[name] for name in AREA_BINS)]
    return Section(
        title="mean IoU of short descriptions",
        header=("description", "numbers", "bits", "all", *(_BIN_TEXT[name] for name in AREA_BINS)),
        rows=[
            (title, numbers, bits, *(_share(group.means, name) for group in groups))
            for title, numbers, bits, name in described
        ]
        if report.overall.num_masks
        else [],
    )


def _show_groups(title: str, kind: str, groups: Mapping[str, GroupMeans]) -> Section:
    return Section(
        title=title,
        header=(kind, "masks", "IoU", "first word alone", "boundary F"),
        rows=[
            (
                name,
                f"{group.num_masks:,}",
                *(_share(group.means, figure) for figure in (IOU, FIRST_CODE_IOU, BOUNDARY_F)),
            )
            for name, group in groups.items()
            if group.num_masks
        ],
    )


def _show_categories(summary: EvaluationSummary, max_categories: int | None) -> Section:
    groups = list(summary.report.by_category.items())
    shown = groups if max_categories is None else groups[:max_categories]
    left = len(groups) - len(shown)
    title = "by category" + (f", the {len(shown)} most frequent of {len(groups)}" if left else "")
    return _show_groups(title, "category", dict(shown))


def _show_books(summary: EvaluationSummary) -> Section:
    return Section(
        title="use of the codebooks",
        header=("book", "codes in use", "dead codes", "perplexity"),
        rows=[
            (str(number), str(book.codes_in_use), str(book.dead_codes), f"{book.perplexity:.1f}")
            for number, book in enumerate(summary.report.books)
        ],
    )


def _show_stability(summary: EvaluationSummary) -> Section:
    return Section(
        title="stability: words kept; IoU of the two decodings, of the disturbed mask and its own, "
        "and of the two masks",
        header=("disturbed by", "pair kept", "first kept", "decodings", "rebuilt", "masks"),
        rows=[
            (
                perturbation,
                *(
                    _share(figures, name)
                    for name in (
                        "pair_kept",
                        "first_kept",
                        "decoding_iou",
                        "reconstruction_iou",
                        "disturbed_iou",
                    )
                ),
            )
            for perturbation, figures in summary.report.stability.items()
        ],
    )
