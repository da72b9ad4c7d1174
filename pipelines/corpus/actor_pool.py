"""The pool of actors that hold a tokenizer: its settings and size, and the dataset it works in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from ray.data import DataContext, Dataset, TaskPoolStrategy

from pipelines.cluster import actor_resources, count_actors, model_settings
from pipelines.corpus.commits import Block, Ledger
from pipelines.corpus.job_config import CorpusJobConfig
from pipelines.corpus.records import Source
from pipelines.corpus.run import Todo
from pipelines.corpus.stages import DecodeStage, WriteStage
from pipelines.corpus.task_pool import dataset_of
from pipelines.setting_checks import above_zero, at_least

_DECODE_CPUS: Final = 0.25
"""CPUs that a task reserves which opens images ahead of the actors."""
_STEPS_PER_ACTOR: Final = 3
"""Blocks, or batches where those are larger, in the object store: one in work, one waiting, one
made. Left alone, Ray fills half of the store with images decoded ahead, so memory would grow with
the corpus. With less room than a batch, each would start only once Ray calls the job stuck."""
_WRITE_CPUS: Final = 0
"""A write never waits for decoding to end: a block counts as done once it is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorJobConfig(CorpusJobConfig):
    """Settings of a job whose actors hold a tokenizer."""

    tokenizer: str = "tiny"
    """tiny (packaged), a folder with config.json and model.safetensors, or a published .pth file.
    Every node must be able to read it."""
    num_actors: int | None = None
    """Tokenizer actors; default: as many as the cluster's GPUs (or CPUs) hold."""
    cpus_per_actor: float = 1.0
    """CPUs an actor may use; its torch threads. It reserves three quarters of them with Ray, so
    that decoding finds room."""
    gpus_per_actor: float = 0.0
    """GPUs per actor: 0 runs on the CPU; 0.5 puts two actors on a GPU."""
    images_per_batch: int = 16
    """Images handed to an actor at a time. Does not change the results."""

    def __post_init__(self) -> None:
        CorpusJobConfig.__post_init__(self)  # super() does not find its way in slotted classes
        at_least(1, "images_per_batch", self.images_per_batch)
        at_least(1, "num_actors", self.num_actors)
        at_least(0, "gpus_per_actor", self.gpus_per_actor)
        above_zero("cpus_per_actor", self.cpus_per_actor)


def build_actor_dataset(
    config: ActorJobConfig,
    source: Source,
    ledger: Ledger,
    todo: Todo,
    *,
    image_size: int,
    stage: type,
    stage_arguments: dict[str, Any],
    build_block: Callable[[pa.Table], Block],
) -> Dataset:
    """The lazy dataset of such a job: decode, run the actors, write; a small row per block.

    Args:
        config: the job's.
        source: the corpus.
        ledger: of the output.
        todo: index shards with images left to do.
        image_size: side of the network input.
        stage: what an actor runs; built with the tokenizer's name, device, number of threads and
            `stage_arguments`.
        stage_arguments: further keyword arguments of `stage`.
        build_block: turns images into rows of the output.

    Raises:
        ConfigError: no actor would ever fit.
    """
    num_actors = count_actors(config)
    dataset = dataset_of(todo)
    _bound_memory(dataset.context, config, 3 * image_size**2, num_actors)
    return (
        dataset.map_batches(
            DecodeStage(source, ledger.output, image_size),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=_DECODE_CPUS,
        )
        .map_batches(
            stage,
            fn_constructor_args=(config.tokenizer,),
            fn_constructor_kwargs={**model_settings(config), **stage_arguments},
            batch_size=config.images_per_batch,
            batch_format="pyarrow",
            **actor_resources(config, num_actors),
        )
        .map_batches(
            WriteStage(ledger, build_block),
            batch_size=None,
            batch_format="pyarrow",
            compute=TaskPoolStrategy(size=max(1, num_actors // 2)),
            num_cpus=_WRITE_CPUS,
        )
    )


def _bound_memory(
    context: DataContext, config: ActorJobConfig, image_bytes: int, num_actors: int
) -> None:
    largest = context.target_max_block_size  # a shard of more bytes comes in several blocks
    shard_bytes = config.images_per_block * image_bytes
    block_bytes = min(shard_bytes, largest) if largest else shard_bytes
    step_bytes = max(block_bytes, config.images_per_batch * image_bytes)
    options = context.execution_options
    options.resource_limits = options.resource_limits.copy(
        object_store_memory=_STEPS_PER_ACTOR * num_actors * step_bytes
    )
