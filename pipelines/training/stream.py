"""A worker's micro-batches as a stream of Ray Data, starting at any step.

Each worker runs a stream of its own over its own lanes, instead of a share of one split stream:
what a worker gets then depends on nothing but the plan, and a resumed training starts in the middle
without reading what came before.

Windows are loaded a few at a time, each lot as a dataset that is run to its end while the lot
before is trained on. One endless dataset would be held back whenever training is slower than
loading, and Ray Data's scheduler, a thread of this process, then polls without a pause: steps of a
small model took three times as long.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import ray
import ray.data

from pipelines.training.plan import Window, plan_windows
from pipelines.training.window_stage import TICKETS, WindowStage

_LOADING_CPUS: Final = 0.25
_BLOCK_BYTES: Final = 32 << 20


def stream_lanes(
    stage: WindowStage, lanes: Sequence[int], *, first_batch: int, num_loaders: int
) -> Iterator[list[dict[str, Any]]]:
    """Micro-batches of a worker, step by step, without end.

    Args:
        stage: loads windows.
        lanes: of this worker.
        first_batch: how many batches of every lane are skipped.
        num_loaders: windows of each lane that are loaded together, each by a quarter of a CPU. As
            many again are ready in the object store.

    Yields:
        Rows of the stage's schema, one for each lane.
    """
    _prepare_context()
    first_window, skipped = divmod(first_batch, stage.batches_per_window)
    plans = [plan_windows(stage.mixture, lane, first=first_window) for lane in lanes]
    tickets = zip(*plans, strict=True)
    rows = _load(stage, tickets, num_loaders)
    yield from islice(_in_groups(rows, len(lanes)), skipped, None)


def _load(
    stage: WindowStage, tickets: Iterator[tuple[Window, ...]], num_loaders: int
) -> Iterator[dict[str, Any]]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        lots = iter(lambda: list(islice(tickets, num_loaders)), [])
        ahead = pool.submit(_load_lot, stage, next(lots))
        for lot in lots:
            blocks = ahead.result()
            ahead = pool.submit(_load_lot, stage, lot)
            for reference in blocks:
                block = ray.get(reference)
                for position in range(len(block)):
                    yield from block.slice(position, 1).to_pylist()


def _load_lot(stage: WindowStage, lot: Sequence[tuple[Window, ...]]) -> list[ray.ObjectRef]:
    """Tables of micro-batches in the object store, in order."""
    dataset = ray.data.from_arrow([_to_table(ticket) for ticket in lot]).map_batches(
        stage, batch_size=1, batch_format="pyarrow", num_cpus=_LOADING_CPUS
    )
    references: list[ray.ObjectRef] = dataset.materialize().to_arrow_refs()
    return references


def _to_table(windows: tuple[Window, ...]) -> pa.Table:
    content = [
        {"lane": w.lane, "number": w.number, "runs": [run._asdict() for run in w.runs]}
        for w in windows
    ]
    return pa.Table.from_pylist([{"windows": content}], schema=TICKETS)


def _in_groups(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while True:
        yield list(islice(rows, size))


def _prepare_context() -> None:
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True  # what is read when is part of the result
    context.enable_progress_bars = False
    context.target_max_block_size = _BLOCK_BYTES
    context.issue_detectors_config.detectors = []
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of every lot
