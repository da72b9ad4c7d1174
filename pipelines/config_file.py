"""Settings from elsewhere than flags: field default < `--preset` < `--config` file < flags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pipelines.storage import Place
from samtok.errors import ConfigError

_CONFIG: Final = "--config"
_PRESET: Final = "--preset"


def expand_config_file(
    arguments: Sequence[str], presets: Mapping[str, Mapping[str, Any]] | None = None
) -> list[str]:
    """Replace `--config FILE` and `--preset NAME` by the flags they stand for, before those given.

    So a saved setting is checked as a typed flag is, an unknown key is an unknown flag, and flags
    on the command line, which come later, win.

    Args:
        arguments: of the command line. FILE is a JSON object of settings, or a manifest with
            such an object under `config`; local or ``s3://``.
        presets: named settings, nested as the config is; with None there is no `--preset`.

    Returns:
        Arguments without `--config` and `--preset`.

    Raises:
        ConfigError: FILE is missing, is not such a file, NAME is unknown, or either is given twice.
    """
    location, given = _take_flag(_CONFIG, arguments, "FILE: the _manifest.json of an earlier run")
    name = None
    if presets is not None:
        name, given = _take_flag(_PRESET, given, f"NAME: {', '.join(presets)}")
        if name is not None and name not in presets:
            raise ConfigError(f"--preset is {name!r}; allowed are {', '.join(presets)}")
    preset = list(to_flags(presets[name])) if presets and name else []
    saved = list(to_flags(_read_settings(location))) if location else []
    return [*preset, *saved, *given]


def _take_flag(flag: str, arguments: Sequence[str], wanted: str) -> tuple[str | None, list[str]]:
    """Value of a flag that may be given once, and the arguments without it."""
    rest, values = [], []
    remaining = iter(arguments)
    for argument in remaining:
        name, has_value, value = argument.partition("=")
        if name != flag:
            rest.append(argument)
            continue
        value = value if has_value else next(remaining, "")
        if not value:
            raise ConfigError(f"{flag} needs a {wanted}")
        values.append(value)
    if len(values) > 1:
        raise ConfigError(f"{flag} is given {len(values)} times; give it once")
    return (values[0] if values else None), rest


def _read_settings(location: str) -> dict[str, Any]:
    place, name = Place.at_file(location)
    try:
        content = json.loads(place.read_bytes(name))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"--config {location} cannot be read: {error}") from error
    settings = content.get("config", content) if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise ConfigError(f"--config {location} holds no object of settings")
    return settings


def to_flags(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested settings as the flags that say the same."""
    for key, value in settings.items():
        name = prefix + key.replace("_", "-")
        if isinstance(value, Mapping):
            yield from to_flags(value, f"{name}.")
        elif isinstance(value, bool):
            head, _, last = name.rpartition(".")
            yield f"--{name}" if value else f"--{head}{'.' if head else ''}no-{last}"
        elif isinstance(value, (list, tuple)):
            yield from [f"--{name}", *map(str, value)]
        else:
            yield f"--{name}={value}"
