"""The quarantine of a training: rows it met that cannot be learned from, each once.

A file is written with each checkpoint, of what was met since the one before. A training that goes
on from a checkpoint first removes what was written after it, and meets it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from pipelines import columns
from pipelines.storage import Place

QUARANTINE_FOLDER: Final = "quarantine"


def write_rows(output: Place, step: int, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows met up to a step; no file where there are none."""
    if rows:
        table = pa.Table.from_pylist(list(rows), schema=columns.QUARANTINE)
        output.write_parquet(_name(step), table)


def forget_after(output: Place, step: int) -> None:
    """Remove what was met after a step."""
    for name in output.list_files(QUARANTINE_FOLDER):
        if name > _name(step):
            output.delete(name)


def count_reasons(output: Place) -> dict[str, int]:
    """Rows by reason, the most frequent first."""
    counts: Counter[str] = Counter()
    for name in output.list_files(QUARANTINE_FOLDER):
        counts.update(output.read_parquet(name, ["reason"]).column(0).to_pylist())
    return dict(counts.most_common())


def _name(step: int) -> str:
    return f"{QUARANTINE_FOLDER}/step-{step:08d}.parquet"
