"""The only place that connects to Ray, and what its actors reserve there."""

from __future__ import annotations

import logging
import os
from typing import Any, Final, Protocol

import ray
import ray.data
from ray.data import ActorPoolStrategy

from samtok.errors import ConfigError

_ACTOR_CPU_SHARE: Final = 0.75
"""Of its CPUs an actor reserves three quarters with Ray, so that decoding finds room."""


class ActorSettings(Protocol):
    """What the settings of a job say about its actors; see there."""

    @property
    def num_actors(self) -> int | None: ...  # noqa: D102
    @property
    def cpus_per_actor(self) -> float: ...  # noqa: D102
    @property
    def gpus_per_actor(self) -> float: ...  # noqa: D102


def connect() -> None:
    """Join the cluster in RAY_ADDRESS (as in a submitted job), or start a local one.

    Does nothing where this process is connected already. Usage statistics stay off.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    local = {} if address else {"include_dashboard": False}
    if not address:
        # Ray turns authentication on by itself where a token file lies about.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        # It keeps as many idle processes as CPUs are free, and a loading task that needs a new one
        # imports everything again: 4 seconds of a CPU.
        os.environ.setdefault("RAY_num_workers_soft_limit", str(2 * (os.cpu_count() or 1)))
    ray.init(
        address=address or "local",
        log_to_driver=True,
        logging_level=logging.WARNING,
        **local,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False  # jobs show their own


def is_joined_cluster() -> bool:
    """Whether the cluster was there before this process, and may grow; not one on this machine."""
    return bool(os.environ.get("RAY_ADDRESS"))


def cluster_cpus() -> float:
    """Logical CPUs of the whole cluster."""
    return float(ray.cluster_resources().get("CPU", 1.0))


def cluster_gpus() -> float:
    """Logical GPUs of the whole cluster."""
    return float(ray.cluster_resources().get("GPU", 0.0))


def count_actors(settings: ActorSettings) -> int:
    """Actors asked for, or as many as fit; a cluster that may grow is taken at its word.

    Raises:
        ConfigError: not even one fits.
    """
    cpus, gpus = settings.cpus_per_actor, settings.gpus_per_actor
    fitting = cluster_gpus() / gpus if gpus > 0 else cluster_cpus() / cpus
    if fitting < 1 and not (settings.num_actors and is_joined_cluster()):
        raise ConfigError(
            f"the cluster has {cluster_cpus():g} CPUs and {cluster_gpus():g} GPUs, too few for one "
            f"actor of {cpus:g} CPUs and {gpus:g} GPUs; lower "
            "--cpus-per-actor or --gpus-per-actor, or set --num-actors on a cluster that grows"
        )
    return settings.num_actors or int(fitting)


def actor_resources(settings: ActorSettings, num_actors: int) -> dict[str, Any]:
    """Keyword arguments of ``map_batches`` for a pool of so many actors."""
    return {"compute": ActorPoolStrategy(size=num_actors), **actor_request(settings)}


def actor_request(settings: ActorSettings) -> dict[str, float]:
    """What one actor reserves, as keyword arguments of ``options``."""
    return {
        "num_cpus": settings.cpus_per_actor * _ACTOR_CPU_SHARE,
        "num_gpus": settings.gpus_per_actor,
    }


def model_settings(settings: ActorSettings) -> dict[str, Any]:
    """Keyword arguments of an actor's class: where its model runs, on how many torch threads."""
    return {
        "device": "cuda" if settings.gpus_per_actor > 0 else "cpu",
        "num_threads": max(1, round(settings.cpus_per_actor)),
    }
