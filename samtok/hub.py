"""Folders of the Hugging Face hub, brought to this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samtok.errors import CheckpointError


def download_from_hub(source: str, patterns: Sequence[str], *, expected: str) -> Path:
    """Fetch files of a hub repository, or find them in the local cache.

    Args:
        source: hub id such as ``"owner/name"``.
        patterns: names of the files wanted, with ``*``.
        expected: what else the caller accepts, for the message where `source` is no hub id.

    Returns:
        Folder that holds them.

    Raises:
        CheckpointError: `source` is no hub id, or the hub does not give it.
    """
    if source.count("/") != 1 or source.startswith((".", "/")):
        raise CheckpointError(
            f"nothing is at {source!r}; pass {expected}, or a hub id such as 'owner/name'"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=list(patterns)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{source!r} is no local path, and the hub did not give it: {error}"
        ) from error
