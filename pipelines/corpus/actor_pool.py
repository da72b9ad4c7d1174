"""The pool of actors that hold a tokenizer: its settings, its size, and what each actor gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ray.data import ActorPoolStrategy

from pipelines import cluster
from pipelines.corpus.job_config import CorpusJobConfig, at_least
from samtok.errors import ConfigError

_ACTOR_CPU_SHARE: Final = 0.75
DECODE_CPUS: Final = 0.25
"""CPUs that a task reserves which opens images ahead of the actors."""
WRITE_CPUS: Final = 0
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
        if self.cpus_per_actor <= 0:
            raise ConfigError(f"--cpus-per-actor is {self.cpus_per_actor}; it must be above 0")


def stage_settings(config: ActorJobConfig) -> dict[str, Any]:
    """Keyword arguments of a stage that holds a tokenizer."""
    return {
        "device": "cuda" if config.gpus_per_actor > 0 else "cpu",
        "num_threads": max(1, round(config.cpus_per_actor)),
    }


def pool_settings(config: ActorJobConfig) -> dict[str, Any]:
    """Keyword arguments of ``map_batches`` for such a stage; asks the cluster for its size.

    Raises:
        ConfigError: no actor would ever fit.
    """
    return {
        "batch_size": config.images_per_batch,
        "batch_format": "pyarrow",
        "compute": ActorPoolStrategy(size=count_actors(config)),
        "num_cpus": config.cpus_per_actor * _ACTOR_CPU_SHARE,
        "num_gpus": config.gpus_per_actor,
    }


def count_actors(config: ActorJobConfig) -> int:
    """Actors of a job; see :func:`pipelines.cluster.count_actors`."""
    return cluster.count_actors(
        config.num_actors,
        cpus_per_actor=config.cpus_per_actor,
        gpus_per_actor=config.gpus_per_actor,
    )
