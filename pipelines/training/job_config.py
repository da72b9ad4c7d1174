"""Settings that all trainings share: where, on how many workers, how often what."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.setting_checks import at_least
from pipelines.tracking_config import TrackingConfig
from samtok.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJobConfig:
    """Settings of any training."""

    output: str
    """Folder or s3:// prefix to write to; a training that was killed there is continued. Every node
    must be able to write to it."""
    num_workers: int = 1
    """Training processes."""
    cpus_per_worker: float = 1.0
    """CPUs a worker may use; its torch threads. It reserves half of them with Ray."""
    gpus_per_worker: float = 0.0
    """GPUs per worker: 0 or 1."""
    log_every: int = 20
    """Steps between figures in MLflow."""
    checkpoint_every: int = 500
    """Steps between checkpoints: at most this many are lost."""
    validate_every: int = 1000
    """Steps between validations."""
    max_failures: int = 3
    """How often lost workers are replaced before the training gives up; -1: always."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """MLflow."""
    register: str = ""
    """Registered model that the result becomes a version of; empty: none."""
    alias: str = "newest"
    """Alias of that version; MLflow reserves "latest"."""

    def __post_init__(self) -> None:
        for name in ("num_workers", "log_every", "checkpoint_every", "validate_every"):
            at_least(1, name, getattr(self, name))
        if self.gpus_per_worker not in (0, 1):
            raise ConfigError(f"--gpus-per-worker is {self.gpus_per_worker:g}; allowed are 0 and 1")
