"""Work left to do as a dataset, and the jobs whose CPU tasks do all of it themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import ray.data
from ray.data import Dataset, TaskPoolStrategy

from pipelines.corpus.run import Todo
from pipelines.corpus.stages import SHARDS


def dataset_of(todo: Todo) -> Dataset:
    """Rows of `SHARDS`, a block each: a shard is the least that a task takes."""
    return ray.data.from_arrow([pa.Table.from_pylist([row], schema=SHARDS) for row in todo])


def build_task_dataset(
    todo: Todo, stage: Callable[[pa.Table], Iterator[pa.Table]], num_workers: int | None
) -> Dataset:
    """The lazy dataset of such a job: a shard at a time is made and written; a small row per block.

    Args:
        todo: index shards with images left to do.
        stage: from `SHARDS` to `BLOCK_SUMMARY`.
        num_workers: tasks at a time; None for as many as the cluster has CPUs.
    """
    return dataset_of(todo).map_batches(
        stage,
        batch_size=1,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(size=num_workers) if num_workers else None,
        num_cpus=1,
    )
