"""Manifests: what made an output, from what, and what came of it. Written last."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pipelines.storage import Place
from samtok.errors import CheckpointError

MANIFEST_FILE: Final = "_manifest.json"
RUN_FILE: Final = "_run.json"
_LIBRARIES = ("samtok", "torch", "sam2", "ray", "pyarrow", "numpy", "pillow", "pycocotools")


def describe_code() -> dict[str, str]:
    """Versions of this code (with the commit, in a checkout) and of what it stands on."""
    versions = {name: _version_of(name) for name in _LIBRARIES}
    return {**versions, "python": platform.python_version(), "commit": _commit()}


def read_json(place: Place, name: str) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file.

    Raises:
        CheckpointError: the file is there and is not one.
    """
    if not place.exists(name):
        return None
    try:
        content = json.loads(place.read_bytes(name))
    except ValueError as error:
        raise CheckpointError(
            f"{place.uri(name)} is not JSON: {error}; delete it to start anew"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{place.uri(name)} holds no object; delete it to start anew")
    return content


def write_json(place: Place, name: str, content: dict[str, Any]) -> None:
    """Write an object, readable by people, at once."""
    place.write_bytes(name, (json.dumps(content, indent=2, sort_keys=False) + "\n").encode())


def is_begun(place: Place, identity: dict[str, Any]) -> bool:
    """Whether an output was begun by a run of the same identity (kept in RUN_FILE).

    Args:
        place: the output.
        identity: JSON values that must be equal in every run that writes there.

    Raises:
        CheckpointError: an earlier run wrote there with another identity.
    """
    earlier = read_json(place, RUN_FILE)
    if earlier is None:
        return False
    differing = [key for key in identity if earlier.get(key) != identity[key]]
    if differing:
        changes = "; ".join(f"{k}: {earlier.get(k)!r} then, {identity[k]!r} now" for k in differing)
        raise CheckpointError(
            f"{place.uri()} was begun with other settings ({changes}); choose another --output, or "
            "delete that folder to start anew"
        )
    return True


def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return "not a checkout"
    shown = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip() or "unknown"
