"""Folders in S3 buckets, brought to this machine."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, Final

from samtok.errors import CheckpointError

SCHEME: Final = "s3://"


def download_from_s3(source: str, patterns: Sequence[str]) -> Path:
    """Fetch files of a folder in a bucket, or find them in the local cache.

    The cache is ``samtok`` in ``$XDG_CACHE_HOME`` (``~/.cache`` where that is not set). A folder of
    it holds one state of the bucket's, so files that have changed are fetched anew.

    Args:
        source: ``"s3://bucket/folder"``.
        patterns: names of the files wanted, with ``*``.

    Returns:
        Folder that holds them.

    Raises:
        CheckpointError: none is there, the bucket cannot be read, or s3fs is not installed.
    """
    try:
        import s3fs
    except ImportError as error:
        raise CheckpointError(
            f"reading {source} needs the s3 extra: pip install 'samtok[s3]'"
        ) from error
    files = s3fs.S3FileSystem(use_listings_cache=False)
    root = source.rstrip("/")
    try:
        found = {
            entry["name"]: (entry.get("ETag"), entry["size"])
            for entry in files.ls(root, detail=True)
            if any(fnmatch(Path(entry["name"]).name, pattern) for pattern in patterns)
        }
        if not found:
            raise FileNotFoundError(f"it holds none of {', '.join(patterns)}")
        state = json.dumps([root, sorted(found.items())])
        folder = cache_folder() / hashlib.sha256(state.encode()).hexdigest()
        if not folder.is_dir():
            fetch_whole(folder, partial(_fetch_files, files, found))
    except OSError as error:
        raise CheckpointError(f"{source} cannot be read: {error}") from error
    return folder


def cache_folder() -> Path:
    """Where what was fetched is kept on this machine; made if it is not there."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samtok"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetch_whole(folder: Path, fetch: Callable[[Path], object]) -> None:
    """Make a folder of the cache, all or nothing.

    A process that is killed, or another one at the same, leaves no half folder.

    Args:
        folder: in the cache; not there yet.
        fetch: puts its files into the empty folder that it is given.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        fetched = Path(scratch) / "fetched"
        fetched.mkdir()
        fetch(fetched)
        try:
            fetched.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise


def _fetch_files(files: Any, names: Iterable[str], folder: Path) -> None:
    for name in names:
        files.get_file(name, str(folder / Path(name).name))
