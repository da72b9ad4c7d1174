"""The table at the end of a pretraining."""

from __future__ import annotations

from rich.table import Table

from pipelines.training.tiny_base import PretrainingSummary


def pretraining_table(summary: PretrainingSummary) -> Table:
    """Where the model is, how well it finds things, and where its run can be looked at."""
    title = f"training in {summary.output}"
    if summary.was_finished:
        title += ": finished before, nothing left to do"
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_row("model", summary.model)
    table.add_row("steps", f"{summary.steps:,}")
    table.add_row("box IoU of the best checkpoint, unseen scenes", f"{summary.box_iou:.4f}")
    table.add_row("MLflow run", summary.run_id or "not recorded")
    version = summary.model_version
    table.add_row("registered version", "none" if version is None else str(version))
    table.add_row("seconds, this run", f"{summary.seconds:.0f}")
    return table
