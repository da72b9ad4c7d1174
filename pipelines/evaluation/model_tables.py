"""The evaluation of a language model: what it came to, and its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipelines.evaluation.sections import Section
from samtok.metrics.task_figures import Figures

_NONE: Final = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSummary:
    """What an evaluation found, and what it left out."""

    output: str
    model: str
    tokenizer: str
    tokenizer_fingerprint: str
    reports: dict[str, dict[str, Figures]]
    """Variant → task → figures; the model itself first."""
    num_conversations: dict[str, int]
    """Rows in, by task."""
    num_answered: dict[str, int]
    """Conversations measured, by variant."""
    quarantined: dict[str, dict[str, int]]
    """Conversations left out, by variant and reason."""
    num_rounds_per_second: dict[str, float]
    """Answers written a second, by variant; start-up of the actors included."""
    seconds: float
    pictures: list[str]
    """Addresses."""

    @property
    def is_accounted(self) -> bool:
        """For every variant, rows in = measured + quarantined."""
        asked = sum(self.num_conversations.values())
        return all(
            asked == self.num_answered[name] + sum(self.quarantined[name].values())
            for name in self.reports
        )


def build_model_sections(summary: ModelSummary) -> list[Section]:
    """A table of what was asked, and one per task with a column for each variant."""
    variants = list(summary.reports)
    sections = [_show_counts(summary)]
    for task in summary.num_conversations:
        figures = [summary.reports[name].get(task, {}) for name in variants]
        names = list(dict.fromkeys(figure for column in figures for figure in column))
        rows = [
            (name.replace("_", " "), *(_show(column.get(name), name) for column in figures))
            for name in names
        ]
        title = task.replace("_", " ")
        sections.append(Section(title=title, header=("figure", *variants), rows=rows))
    return [section for section in sections if section.rows]


def _show(value: float | None, name: str) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if name == "conversations" else f"{value:.3f}"


def _show_counts(summary: ModelSummary) -> Section:
    variants = list(summary.reports)
    left_out = {name: sum(summary.quarantined[name].values()) for name in variants}
    reasons = dict.fromkeys(reason for name in variants for reason in summary.quarantined[name])
    rows: list[tuple[str, ...]] = [
        ("conversations", *(f"{sum(summary.num_conversations.values()):,}" for _ in variants)),
        ("measured", *(f"{summary.num_answered[name]:,}" for name in variants)),
        ("quarantined", *(f"{left_out[name]:,}" for name in variants)),
        *(
            (f"  {reason}", *(f"{summary.quarantined[name].get(reason, 0):,}" for name in variants))
            for reason in reasons
        ),
        ("answers per second", *(f"{summary.num_rounds_per_second[n]:.2f}" for n in variants)),
    ]
    return Section(
        title=f"evaluation of {summary.model} in {summary.output}",
        header=("", *variants),
        rows=rows,
    )
