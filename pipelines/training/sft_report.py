"""The table at the end of a fine-tuning."""

from __future__ import annotations

from rich.table import Table

from pipelines.training.sft import SftSummary


def sft_table(summary: SftSummary) -> Table:
    """Where the model is, how good it is, what was left out, and where its run can be seen."""
    title = f"training in {summary.output}"
    if summary.was_finished:
        title += ": finished before, nothing left to do"
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_row("model", summary.model)
    table.add_row("steps", f"{summary.steps:,}")
    loss = summary.validation_loss
    shown = "not measured" if loss is None else f"{loss:.4f} nats per answer token"
    table.add_row("validation loss of the best checkpoint", shown)
    for reason, count in summary.quarantined.items():
        table.add_row(f"quarantined: {reason}", f"{count:,}")
    table.add_row("MLflow run", summary.run_id or "not recorded")
    version = summary.model_version
    table.add_row("registered version", "none" if version is None else str(version))
    table.add_row("seconds, this run", f"{summary.seconds:.0f}")
    return table
