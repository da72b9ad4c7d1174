"""Registered models of MLflow as sources: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from pathlib import Path
from typing import Final

from pipelines.tracking import connect_client
from pipelines.tracking_config import TrackingConfig, resolve_tracking
from samtok.bucket import SCHEME as S3
from samtok.bucket import cache_folder, fetch_whole
from samtok.errors import ConfigError

SCHEME: Final = "models:/"
_FORM: Final = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[\w-]+)|/(?P<version>\d+))")
_IN_RUN: Final = re.compile(r"runs:/(?P<run_id>[^/]+)/(?P<path>.+)")


def find_registered(source: str) -> str:
    """Where a registered model lies now.

    An alias is looked up at once, so that all that is started with the answer has one version.

    Args:
        source: ``models:/…``, looked up where MLFLOW_TRACKING_URI says, else in ``./mlflow.db``;
            any other source is given back.

    Returns:
        The ``s3://`` address that was registered, or a folder on this machine to which the version
        was brought, in the cache that :func:`samtok.bucket.cache_folder` names.

    Raises:
        ConfigError: the form is another, MLflow does not know it or does not answer.
    """
    if not source.startswith(SCHEME):
        return source
    form = _FORM.fullmatch(source)
    if form is None:
        raise ConfigError(f"{source} is neither models:/NAME@ALIAS nor models:/NAME/VERSION")
    config = resolve_tracking(TrackingConfig())
    try:
        client = connect_client(config)
        if form["alias"]:
            version = client.get_model_version_by_alias(form["name"], form["alias"])
        else:
            version = client.get_model_version(form["name"], form["version"])
        address = str(version.source)
        if address.startswith(S3):
            return address
        in_run = _IN_RUN.fullmatch(address)
        if in_run is None:
            raise ConfigError(f"{source} lies at {address}; s3:// and files of a run can be read")
        folder = cache_folder() / hashlib.sha256(f"{config.uri} {address}".encode()).hexdigest()
        if not folder.is_dir():
            fetch_whole(folder, partial(client.download_artifacts, *in_run.groups()))
    except ConfigError:
        raise
    except Exception as error:  # MLflow's own and those of whatever carries it
        raise ConfigError(f"{source} cannot be had from {config.uri}: {error}") from error
    return str(folder / Path(in_run["path"]).name)  # MLflow keeps the last part of the path
