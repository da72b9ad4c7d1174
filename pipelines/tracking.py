"""Runs, figures and models in MLflow; the only file that imports it, which makes it long.

A job calls :func:`check_tracking` before it touches a cluster and :meth:`RunTracker.open` when it
starts. Every log call of a :class:`RunTracker` only queues; `pipelines.outbox` sends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import sys
import tempfile
import textwrap
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from pipelines.manifest import describe_code
from pipelines.outbox import Outbox, Record
from pipelines.tracking_config import (
    TrackingConfig,
    check_sqlite_file,
    resolve_tracking,
    sqlite_path,
)
from samtok.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from PIL.Image import Image

logger = logging.getLogger(__name__)

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

_CLIENT_SETTINGS: Final = {
    # One attempt of fifteen seconds: the outbox repeats. MLflow's own repeats last for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# MLflow's limits.
_MAX_PARAM_LENGTH: Final = 6000
_MAX_TAG_LENGTH: Final = 8000
_MAX_PER_CALL: Final = {"metrics": 1000, "params": 100, "tags": 100}
_CUT_NOTE: Final = " … cut; the whole is in config.json"


def check_tracking(config: TrackingConfig) -> TrackingConfig:
    """Find out, before any work, whether runs can be recorded; makes a SQLite file if need be.

    Takes fifteen seconds at most where a server is silent.

    Returns:
        The same with `uri` filled in and absolute: it means the same in every process.

    Raises:
        ConfigError: the server does not answer or is no MLflow server, or the file is no database.
    """
    config = resolve_tracking(config)
    if not config.enabled:
        return config
    try:
        if (path := sqlite_path(config.uri)) is not None:
            check_sqlite_file(path)
        connect_client(config).search_experiments(max_results=1)
    except Exception as error:  # MLflow lets errors of requests, SQLAlchemy and alembic through
        raise _unusable(config, error) from error
    return config


class RunTracker:
    """One MLflow run, fed from one process at a time: the driver, or rank 0 of a training.

    Log calls queue and return; a thread sends. A server that goes away stops nothing: see
    :class:`pipelines.outbox.Outbox`. With tracking disabled, and after the end, every call does
    nothing.

    A training resumed from step 400 that had logged up to step 450 logs 401 to 450 again: MLflow
    keeps both values of a step, and its charts show both.

    As a context manager it ends the run: FINISHED, FAILED after an exception, KILLED after
    KeyboardInterrupt.

    Args:
        config: as :func:`check_tracking` returned it, where it comes from another process.
        run_id: an existing run; None only with tracking disabled. Nothing is sent to check it:
            use :meth:`open` where it may be wrong.

    Resources:
        One thread, and a temporary folder for files on their way.
    """

    def __init__(self, config: TrackingConfig, run_id: str | None) -> None:
        self.config = resolve_tracking(config)
        self.run_id = run_id
        self._outbox: Outbox | None = None
        if not config.enabled:
            return
        if run_id is None:
            raise ConfigError("a RunTracker needs a run id; RunTracker.open makes one")
        self._client = connect_client(self.config)
        self._spool = Path(tempfile.mkdtemp(prefix="samtok-tracking-"))
        self._outbox = Outbox(
            send=self._send,
            is_answering=self._is_answering,
            destination=f"MLflow at {self.config.uri}",
            capacity=config.queue_capacity,
        )

    @staticmethod
    def open(
        config: TrackingConfig,
        run_id: str | None = None,
        *,
        tags: Mapping[str, object] | None = None,
    ) -> RunTracker:
        """Start a run, or continue one.

        Args:
            config: where.
            run_id: the run of the training that is resumed, as `run_id` of its tracker said.
            tags: of the run.

        Raises:
            ConfigError: the server does not answer, or has no such run.
        """
        config = resolve_tracking(config)
        if not config.enabled:
            return RunTracker(config, None)
        try:
            client = connect_client(config)
            if run_id is None:
                run_id = _create_run(client, config)
            elif client.get_run(run_id).info.lifecycle_stage != "active":
                raise ConfigError(f"run {run_id} was deleted; restore it in MLflow")
        except ConfigError:
            raise
        except Exception as error:  # as in check_tracking
            raise _unusable(config, error, run_id) from error
        tracker = RunTracker(config, run_id)
        tracker._put("status", {"status": "RUNNING"})
        tracker.set_tags(tags or {})
        return tracker

    def log_params(self, params: Mapping[str, Any] | Any) -> None:
        """Record the settings of the run, and all of them as the artifact `config.json`.

        Nested names are joined with dots. Values that are too long for MLflow are cut, with a note.
        MLflow never changes a param: in a run that is continued, a changed one keeps its first
        value and goes into the tag `resumed.<name>`; `config.json` holds the latest.

        Args:
            params: a nested mapping or a dataclass.
        """
        tree = dict(params) if isinstance(params, Mapping) else dataclasses.asdict(params)
        self._put("params", {name: _cut(text) for name, text in _flatten(tree)})
        self.log_json("config.json", tree)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags; later values replace earlier ones."""
        if tags:
            self._put("tags", {name: str(value) for name, value in tags.items()})

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Record numbers of one step.

        Args:
            metrics: numbers, or whatever `float` takes; NaN and infinity are kept.
            step: training step, >= 0.

        Raises:
            TypeError, ValueError: a value is no number.
        """
        values = {name: float(value) for name, value in metrics.items()}
        payload = {"values": values, "step": step, "timestamp": _now()}
        self._put("metrics", payload, batched=True, drop_order=0)

    def log_picture(self, name: str, picture: Image, step: int) -> None:
        """Record a picture of one step, e.g. a panel.

        MLflow shows pictures of one name as a series over steps, and side by side across runs.

        Args:
            name: of the series: letters, digits, spaces and ``_-./``.
            picture: any PIL image; may be changed afterwards.
            step: training step, >= 0.
        """
        payload = {"name": name, "step": step, "timestamp": _now()}
        self._put_file("picture", "picture.png", picture.save, payload, drop_order=1)

    def log_figure(self, path: str, figure: Figure) -> None:
        """Record a matplotlib figure as the artifact `path`, e.g. ``"figures/usage.png"``."""
        self._put_artifact(path, lambda file: figure.savefig(file, bbox_inches="tight"))

    def log_json(self, path: str, content: Any) -> None:
        """Record `content` as a JSON artifact; what JSON does not know is written as its text."""
        self.log_text(path, json.dumps(content, indent=2, default=str) + "\n")

    def log_text(self, path: str, text: str) -> None:
        """Record `text` as an artifact, e.g. ``"report.md"``."""
        self._put_artifact(path, lambda file: file.write_text(text, encoding="utf-8"))

    def log_artifact_reference(self, name: str, uri: str, **details: Any) -> None:
        """Record where something large lies, e.g. a checkpoint, without uploading it.

        Sets the tag `artifact.<name>` to `uri`, and writes `references/<name>.json`. A later call
        replaces both.

        Args:
            name: e.g. ``"checkpoint"``.
            uri: folder or ``s3://`` address.
            details: JSON values kept in the file, e.g. `step`.
        """
        self.set_tags({f"artifact.{name}": uri})
        self.log_json(f"references/{name}.json", {"uri": uri, **details})

    def register_model(
        self,
        name: str,
        source: str | Path,
        *,
        alias: str | None = None,
        tags: Mapping[str, object] | None = None,
        timeout_seconds: float = 120.0,
    ) -> int | None:
        """Make a model, e.g. a tokenizer, a version of a registered model.

        A local folder is uploaded into the run, as a server takes no folders of other machines; an
        ``s3://`` address is registered as it is. The same content or address registered again from
        the same run is the same version.

        Args:
            name: of the registered model, made if it is not there, e.g. ``"samtok-tokenizer"``.
            source: local folder, which stays as it is until the run ends, or ``s3://`` address.
            alias: moves to this version, e.g. ``"champion"``; letters, digits, ``_-``.
            tags: of the version.
            timeout_seconds: how long to wait for what is queued before, and for the upload.

        Returns:
            The version. None where tracking is disabled, or, after a warning, where the server
            refused it or did not answer in time (it may still be registered before the run ends).

        Raises:
            FileNotFoundError: `source` is neither an ``s3://`` address nor a folder.
        """
        address, folder = str(source), None
        if not address.startswith("s3://"):
            folder = os.path.abspath(address)
            if not os.path.isdir(folder):
                raise FileNotFoundError(f"no folder {folder} to register as {name}")
            address = f"models/{name}/{_digest(Path(folder))}"
        payload: dict[str, Any] = {
            "name": name,
            "source": address,
            "folder": folder,
            "alias": alias,
            "tags": {key: str(value) for key, value in (tags or {}).items()},
        }
        record = self._put("model", payload)
        if record is None:
            return None
        record.settled.wait(timeout_seconds)
        version = payload.get("version")
        if version is None:
            logger.warning("%s is not registered as %s yet, or was refused", source, name)
        return version

    def finish(self, status: RunStatus = "FINISHED") -> None:
        """End the run, after what is queued; see :meth:`close`."""
        self._put("status", {"status": status, "timestamp": _now()})
        self.close()

    def close(self) -> None:
        """Send what is queued and stop, leaving the run open to another process.

        Waits `finish_timeout_seconds` at most; what is not sent then is written to a folder that a
        warning names.
        """
        if self._outbox is None:
            return
        outbox, self._outbox = self._outbox, None
        undelivered = outbox.close(self.config.finish_timeout_seconds)
        if not undelivered:
            with contextlib.suppress(OSError):
                self._spool.rmdir()
            return
        kept = self._spool / "undelivered.jsonl"
        with contextlib.suppress(OSError), kept.open("w", encoding="utf-8") as file:
            for record in undelivered:
                line = {"kind": record.kind, **record.payload}
                file.write(json.dumps(line, default=str) + "\n")
        logger.warning(
            "run %s: MLflow at %s did not get %s; they are kept in %s",
            self.run_id,
            self.config.uri,
            dict(Counter(record.kind for record in undelivered)),
            kept,
        )

    def __enter__(self) -> RunTracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")

    def _put(self, kind: str, payload: dict[str, Any], **options: Any) -> Record | None:
        if self._outbox is None:
            return None
        record = Record(kind=kind, payload=payload, **options)
        self._outbox.put(record)
        return record

    def _put_artifact(self, path: str, save: Callable[[Path], object]) -> None:
        parent, _, name = path.rpartition("/")
        self._put_file("artifact", name, save, {"parent": parent or None})

    def _put_file(
        self,
        kind: str,
        name: str,
        save: Callable[[Path], object],
        payload: dict[str, Any],
        drop_order: int | None = None,
    ) -> None:
        """Save a file now, as its content may change, and queue it; the disk holds the queue."""
        if self._outbox is None:
            return
        folder = self._spool / uuid.uuid4().hex
        try:
            folder.mkdir()
            save(folder / name)
        except OSError as error:  # a full disk is no reason to stop a training
            logger.warning("%s %s is not recorded: %s", kind, name, error)
            return
        payload = {**payload, "file": str(folder / name)}
        self._put(kind, payload, drop_order=drop_order, folder=folder)

    def _is_answering(self) -> bool:
        try:
            self._client.search_experiments(max_results=1)
        except Exception:  # any: the question is whether there is an answer
            return False
        return True

    def _send(self, records: list[Record]) -> None:
        if records[0].kind == "metrics":
            self._send_metrics(records)
            return
        senders: dict[str, Callable[[dict[str, Any]], None]] = {
            "params": self._send_params,
            "tags": self._send_tags,
            "picture": self._send_picture,
            "artifact": self._send_artifact,
            "model": self._send_model,
            "status": self._send_status,
        }
        for record in records:
            senders[record.kind](record.payload)

    def _send_metrics(self, records: list[Record]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, record.payload["timestamp"], record.payload["step"])
            for record in records
            for name, value in record.payload["values"].items()
        ]
        self._log("metrics", metrics)

    def _send_params(self, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        earlier = self._client.get_run(self.run_id).data.params
        self._log("params", [Param(k, v) for k, v in params.items() if k not in earlier])
        changed = {k: v for k, v in params.items() if earlier.get(k, v) != v}
        self._send_tags({f"resumed.{name}": text for name, text in changed.items()})

    def _send_tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        self._log("tags", [RunTag(name, text[:_MAX_TAG_LENGTH]) for name, text in tags.items()])

    def _log(self, kind: str, entities: list[Any]) -> None:
        size = _MAX_PER_CALL[kind]
        for start in range(0, len(entities), size):
            batch = {kind: entities[start : start + size]}
            self._client.log_batch(self.run_id, **batch, synchronous=True)

    def _send_picture(self, payload: dict[str, Any]) -> None:
        from PIL import Image

        with Image.open(payload["file"]) as picture:
            self._client.log_image(
                self.run_id,
                picture,
                key=payload["name"],
                step=payload["step"],
                timestamp=payload["timestamp"],
                synchronous=True,
            )

    def _send_artifact(self, payload: dict[str, Any]) -> None:
        self._client.log_artifact(self.run_id, payload["file"], payload["parent"])

    def _send_status(self, payload: dict[str, Any]) -> None:
        if payload["status"] == "RUNNING":
            self._client.update_run(self.run_id, status="RUNNING")
        else:
            self._client.set_terminated(self.run_id, payload["status"], payload["timestamp"])

    def _send_model(self, payload: dict[str, Any]) -> None:
        """Register a version; sent twice, it finds what the first attempt left."""
        from mlflow.exceptions import MlflowException

        client, name, source = self._client, payload["name"], payload["source"]
        if payload["folder"] is not None:
            source = f"runs:/{self.run_id}/{source}"
        with contextlib.suppress(MlflowException):  # it is there; or the next call fails too
            client.create_registered_model(name)
        same_run = client.search_model_versions(f"name = '{name}' and run_id = '{self.run_id}'")
        version = next((found.version for found in same_run if found.source == source), None)
        if version is None:
            if payload["folder"] is not None:
                client.log_artifacts(self.run_id, payload["folder"], payload["source"])
            version = client.create_model_version(
                name, source, self.run_id, await_creation_for=0
            ).version
        for key, text in payload["tags"].items():
            client.set_model_version_tag(name, version, key, text)
        if payload["alias"] is not None:
            client.set_registered_model_alias(name, payload["alias"], version)
        payload["version"] = int(version)


def connect_client(config: TrackingConfig) -> MlflowClient:
    """A client of the store; sends nothing. The environment's settings win over ours."""
    for name, value in _CLIENT_SETTINGS.items():  # read by MLflow at each call, so they stay
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=config.uri, registry_uri=config.uri)


def read_history(
    config: TrackingConfig, run_id: str, names: Collection[str]
) -> dict[str, tuple[list[int], list[float]]]:
    """Metrics of a run as it was recorded.

    Args:
        config: where.
        run_id: of the run.
        names: of the metrics.

    Returns:
        Steps, rising, and values of each; the latest value of a step that was logged twice. What
        was never logged is left out.

    Raises:
        ConfigError: the server does not answer, or has no such run.
    """
    config = resolve_tracking(config)
    try:
        client = connect_client(config)
        logged = [name for name in names if name in client.get_run(run_id).data.metrics]
        histories = {name: client.get_metric_history(run_id, name) for name in logged}
    except Exception as error:  # as in check_tracking
        raise _unusable(config, error, run_id) from error
    curves = {}
    for name, history in histories.items():
        latest = {m.step: m.value for m in sorted(history, key=lambda m: m.timestamp)}
        steps = sorted(latest)
        curves[name] = (steps, [latest[step] for step in steps])
    return curves


def _create_run(client: MlflowClient, config: TrackingConfig) -> str:
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        from mlflow.exceptions import MlflowException

        path = sqlite_path(config.uri)
        place = None if path is None else (path.parent / "mlartifacts").as_uri()
        with contextlib.suppress(MlflowException):  # another process made it just now
            client.create_experiment(config.experiment, artifact_location=place)
        experiment = client.get_experiment_by_name(config.experiment)
    if experiment.lifecycle_stage != "active":
        raise ConfigError(
            f"tracking.experiment {config.experiment} was deleted; restore it in MLflow, or choose "
            "another name"
        )
    tags = {
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.git.commit": describe_code()["commit"],
    }
    if config.parent_run_id is not None:
        tags["mlflow.parentRunId"] = config.parent_run_id
    run = client.create_run(experiment.experiment_id, tags=tags, run_name=config.run_name)
    return str(run.info.run_id)


def _unusable(config: TrackingConfig, error: Exception, run_id: str | None = None) -> ConfigError:
    run = f" (or has no run {run_id})" if run_id else ""
    reason = textwrap.shorten(str(error), 500)
    return ConfigError(
        f"MLflow at {config.uri} cannot be used{run}: {reason}; start the server, correct "
        "--tracking.uri or MLFLOW_TRACKING_URI, or turn tracking off with --tracking.no-enabled"
    )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    leaves = []
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves += _flatten(value, f"{prefix}{name}.")
        else:
            leaves.append((f"{prefix}{name}", str(value)))
    return leaves


def _cut(text: str) -> str:
    if len(text) <= _MAX_PARAM_LENGTH:
        return text
    return text[: _MAX_PARAM_LENGTH - len(_CUT_NOTE)] + _CUT_NOTE


def _digest(folder: Path) -> str:
    """Twelve hexadecimal digits that differ where names or contents in the folder do."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()[:12]


def _now() -> int:
    return time.time_ns() // 1_000_000
