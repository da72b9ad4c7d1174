"""The table at the end of a training."""

from __future__ import annotations

from rich.table import Table

from pipelines.training.tokenizer import TrainingSummary


def training_table(summary: TrainingSummary) -> Table:
    """Where the tokenizer is, how good it is, and where its run can be looked at."""
    title = f"training in {summary.output}"
    if summary.was_finished:
        title += ": finished before, nothing left to do"
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_row("tokenizer", summary.tokenizer)
    table.add_row("fingerprint", summary.fingerprint[:16])
    table.add_row("steps", f"{summary.steps:,}")
    table.add_row("validation IoU of the best checkpoint", f"{summary.validation_iou:.4f}")
    table.add_row("MLflow run", summary.run_id or "not recorded")
    version = summary.model_version
    table.add_row("registered version", "none" if version is None else str(version))
    table.add_row("seconds, this run", f"{summary.seconds:.0f}")
    return table
