"""What a training leaves behind, and the table of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSummary(ABC):
    """What any training leaves behind; each job adds its own."""

    output: str
    steps: int
    run_id: str | None
    """MLflow run."""
    model_version: int | None
    """In MLflow's registry."""
    seconds: float
    """Of this run, start-up included."""
    was_finished: bool = False
    """An earlier run had finished it, and this one did nothing."""

    @abstractmethod
    def rows(self) -> dict[str, str]:
        """Where the result is and how good it is, as the table shows it."""


def training_table(summary: TrainingSummary) -> Table:
    """Where the result is, how good it is, and where its run can be looked at."""
    title = f"training in {summary.output}"
    if summary.was_finished:
        title += ": finished before, nothing left to do"
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in summary.rows().items():
        table.add_row(name, value)
    table.add_row("MLflow run", summary.run_id or "not recorded")
    version = summary.model_version
    table.add_row("registered version", "none" if version is None else str(version))
    table.add_row("seconds, this run", f"{summary.seconds:.0f}")
    return table
