"""The only place that connects to Ray."""

from __future__ import annotations

import logging
import os

import ray
import ray.data

from samtok.errors import ConfigError


def connect() -> None:
    """Join the cluster in RAY_ADDRESS (as in a submitted job), or start a local one.

    Does nothing where this process is connected already. Usage statistics stay off.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    local = {} if address else {"include_dashboard": False}
    if not address:  # Ray turns authentication on by itself where a token file lies about
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
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


def count_actors(num_actors: int | None, *, cpus_per_actor: float, gpus_per_actor: float) -> int:
    """Actors asked for, or as many as fit; a cluster that may grow is taken at its word.

    Args:
        num_actors: asked for; None for as many as fit.
        cpus_per_actor: CPUs each may use; above 0.
        gpus_per_actor: GPUs of each; 0 for actors on the CPU.

    Raises:
        ConfigError: not even one fits.
    """
    if gpus_per_actor > 0:
        fitting = cluster_gpus() / gpus_per_actor
    else:
        fitting = cluster_cpus() / cpus_per_actor
    if fitting < 1 and not (num_actors and is_joined_cluster()):
        raise ConfigError(
            f"the cluster has {cluster_cpus():g} CPUs and {cluster_gpus():g} GPUs, too few for one "
            f"actor of {cpus_per_actor:g} CPUs and {gpus_per_actor:g} GPUs; lower "
            "--cpus-per-actor or --gpus-per-actor, or set --num-actors on a cluster that grows"
        )
    return num_actors or int(fitting)
