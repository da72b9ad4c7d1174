"""The only place that connects to Ray."""

from __future__ import annotations

import logging
import os

import ray
import ray.data


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
