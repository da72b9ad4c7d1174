"""Settings saved by an earlier run, read back: field default < `--config` file < flags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipelines.storage import Place
from samtok.errors import ConfigError

_FLAG: Final = "--config"


def expand_config_file(arguments: Sequence[str]) -> list[str]:
    """Replace `--config FILE` by the flags that FILE stands for, ahead of the flags given.

    So a saved setting is checked as a typed flag is, an unknown key is an unknown flag, and flags
    on the command line, which come later, win.

    Args:
        arguments: of the command line. FILE is a JSON object of settings, or a manifest with
            such an object under `config`; local or ``s3://``.

    Returns:
        Arguments without `--config`.

    Raises:
        ConfigError: FILE is missing, is not such a file, or `--config` is given twice.
    """
    given, locations = [], []
    remaining = iter(arguments)
    for argument in remaining:
        name, has_value, value = argument.partition("=")
        if name != _FLAG:
            given.append(argument)
            continue
        location = value if has_value else next(remaining, "")
        if not location:
            raise ConfigError("--config needs a FILE: the _manifest.json of an earlier run")
        locations.append(location)
    if len(locations) > 1:
        raise ConfigError(f"--config is given {len(locations)} times; give one file")
    saved = [flag for location in locations for flag in _as_flags(_read_settings(location))]
    return [*saved, *given]


def _read_settings(location: str) -> dict[str, Any]:
    folder, _, name = Place.at(location).root.rpartition("/")
    try:
        content = json.loads(Place.at(folder or "/").read_bytes(name))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"--config {location} cannot be read: {error}") from error
    settings = content.get("config", content) if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise ConfigError(f"--config {location} holds no object of settings")
    return settings


def _as_flags(settings: dict[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
        else:
            yield f"--{name}={value}"
