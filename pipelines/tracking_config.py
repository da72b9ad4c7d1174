"""Where runs are recorded: settings, and what an address of a tracking store means."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from samtok.errors import ConfigError

_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingConfig:
    """Where a job's run is recorded."""

    uri: str | None = None
    """MLflow server (`http://`, `https://`) or local file (`sqlite:///`, artifacts in `mlartifacts`
    beside it). Default: MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`. Paths are relative to the
    current folder. User and password go into MLFLOW_TRACKING_USERNAME and _PASSWORD."""
    experiment: str = "samtok"
    """Experiment that the run belongs to; made if it is not there."""
    run_name: str | None = None
    """Name shown for the run; MLflow invents one by default."""
    parent_run_id: str | None = None
    """Run of a larger flow, under which this one is shown."""
    enabled: bool = True
    """Whether anything is recorded."""
    queue_capacity: int = 10_000
    """Log calls kept while the server does not answer; beyond, the oldest metrics go; >= 1."""
    finish_timeout_seconds: float = 60.0
    """How long the end of a run waits for what is still queued; >= 0."""

    def __post_init__(self) -> None:
        if self.uri is not None:
            _check_uri("tracking.uri", self.uri)
        if not self.experiment:
            raise ConfigError("tracking.experiment is empty; give a name such as samtok")
        if self.queue_capacity < 1:
            raise ConfigError(f"tracking.queue-capacity is {self.queue_capacity}; give 1 or more")
        if self.finish_timeout_seconds < 0:
            raise ConfigError(
                f"tracking.finish-timeout-seconds is {self.finish_timeout_seconds}; give 0 or more"
            )


def resolve_tracking(config: TrackingConfig) -> TrackingConfig:
    """The same with `uri` filled in and absolute, so that it means the same in every process.

    Raises:
        ConfigError: MLFLOW_TRACKING_URI, where it is needed, is neither a server nor a SQLite file.
    """
    uri = config.uri
    if not config.enabled:
        return config
    if uri is None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
        _check_uri("MLFLOW_TRACKING_URI", uri)
    path = sqlite_path(uri)
    return replace(config, uri=uri if path is None else f"{_SQLITE}{path}")


def sqlite_path(uri: str | None) -> Path | None:
    """The absolute path of the file behind a ``sqlite:///`` address; None for another."""
    if uri is None or not uri.startswith(_SQLITE):
        return None
    return Path(os.path.abspath(uri.removeprefix(_SQLITE)))


def check_sqlite_file(path: Path) -> None:
    """Open a database for writing, and make it if it is not there.

    MLflow would try for an hour where that fails.

    Raises:
        OSError, sqlite3.Error: it cannot be made or written, or is no database.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as database:
        database.execute("BEGIN IMMEDIATE")


def _check_uri(name: str, uri: str) -> None:
    if re.match(r"https?://[^/]*@", uri):
        raise ConfigError(
            f"{name} holds a user or password, which would be shown in logs; give them as "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if not re.match(rf"https?://[^/]|{_SQLITE}[^?]+$", uri):
        raise ConfigError(
            f"{name} is {uri!r}; give a server as http://host:port or https://host, or a local "
            "file as sqlite:///mlflow.db"
        )
