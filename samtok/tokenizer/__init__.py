"""The mask tokenizer: image and mask in, two codes out, and back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from samtok.tokenizer.config import PRESETS, TokenizerConfig, TrunkConfig

if TYPE_CHECKING:
    from samtok.tokenizer.embeddings import ImageEmbeddings
    from samtok.tokenizer.mask_tokenizer import SAMTok

__all__ = ["PRESETS", "ImageEmbeddings", "SAMTok", "TokenizerConfig", "TrunkConfig"]

_HOMES = {
    "ImageEmbeddings": "samtok.tokenizer.embeddings",
    "SAMTok": "samtok.tokenizer.mask_tokenizer",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use: workers that only resize images do without."""
    if name not in _HOMES:
        raise AttributeError(f"module 'samtok.tokenizer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
