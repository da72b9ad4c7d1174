"""A worker's micro-batches as a stream of Ray Data, starting at any step.

Each worker runs a stream of its own over its own lanes, instead of a share of one split stream:
what a worker gets then depends on nothing but the plan, and a resumed training starts in the middle
without reading what came before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import ray.data

from pipelines.training.plan import Window, plan_windows
from pipelines.training.window_stage import TICKETS, WindowStage

_TICKETS_PER_DATASET: Final = 256
"""Windows planned ahead; bounds the driver's memory, not the data's."""
_LOADING_CPUS: Final = 0.25
_BYTES_AHEAD: Final = 1 << 29
"""Micro-batches kept ready; more would only keep loading workers busy when steps want the CPUs."""
_BLOCK_BYTES: Final = 32 << 20


def stream_lanes(
    stage: WindowStage, lanes: Sequence[int], *, first_batch: int, num_loaders: int
) -> Iterator[list[dict[str, Any]]]:
    """Micro-batches of a worker, step by step, without end.

    Args:
        stage: loads windows.
        lanes: of this worker.
        first_batch: how many batches of every lane are skipped.
        num_loaders: windows loaded at a time, each by a quarter of a CPU. Fewer in all workers than
            the cluster has room for: a stream whose loaders wait holds theirs.

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
    while True:
        tables = [_to_table(ticket) for ticket in islice(tickets, _TICKETS_PER_DATASET)]
        dataset = ray.data.from_arrow(tables).map_batches(
            stage,
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=_LOADING_CPUS,
            compute=ray.data.TaskPoolStrategy(size=num_loaders),
        )
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            for position in range(len(block)):
                yield from block.slice(position, 1).to_pylist()


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
    context.execution_options.resource_limits = ray.data.ExecutionResources(
        object_store_memory=_BYTES_AHEAD
    )
    context.enable_progress_bars = False
    context.issue_detectors_config.detectors = []  # loaders' memory is told of in the docs
    context.target_max_block_size = _BLOCK_BYTES
