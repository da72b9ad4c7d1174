"""The way of every evaluation: CPU tasks read blocks of images, a pool of actors measures them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, Protocol

import pyarrow as pa
import ray
from ray.data import Dataset

from pipelines.cluster import ActorSettings, actor_resources, count_actors, model_settings
from pipelines.evaluation.images import BLOCKS

_READ_CPUS: Final = 0.25
_IMAGES_PER_TABLE: Final = 8


class Reader(Protocol):
    """Small and picklable: it travels to the workers."""

    def read(self, reference: str) -> Iterator[dict[str, Any]]:
        """Rows of a block."""
        ...


class ReadStage:
    """Read blocks of images, on CPU workers.

    Columns in: `images.BLOCKS`. Columns out: `schema`. State held: none.

    Args:
        reader: of the blocks.
        schema: of its rows, one per image.
    """

    def __init__(self, reader: Reader, schema: pa.Schema) -> None:
        self._reader = reader
        self._schema = schema

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Tables of a few images each."""
        for reference in table.column("reference").to_pylist():
            rows = self._reader.read(reference)
            while batch := list(islice(rows, _IMAGES_PER_TABLE)):
                yield pa.Table.from_pylist(batch, schema=self._schema)


def stream(
    references: list[str],
    read: ReadStage,
    stage: type,
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
    settings: ActorSettings,
    *,
    batch_size: int | None,
) -> Dataset:
    """The lazy dataset: read, measure.

    Args:
        references: of blocks.
        read: the stage that reads them.
        stage: class of the actors; it also takes `device` and `num_threads`.
        arguments: of its constructor.
        options: keyword arguments of its constructor.
        settings: number and size of the actors.
        batch_size: images handed to an actor at a time; None for those of a block, which does not
            depend on what arrives when.
    """
    blocks = [
        pa.Table.from_pylist([{"reference": reference}], schema=BLOCKS) for reference in references
    ]
    return (
        ray.data.from_arrow(blocks)
        .map_batches(read, batch_size=1, batch_format="pyarrow", num_cpus=_READ_CPUS)
        .map_batches(
            stage,
            fn_constructor_args=arguments,
            fn_constructor_kwargs={**model_settings(settings), **options},
            batch_size=batch_size,
            batch_format="pyarrow",
            **actor_resources(settings, count_actors(settings)),
        )
    )
