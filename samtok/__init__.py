"""SAMTok: any region of an image as two words of a language model (arXiv 2601.16093)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samtok.tokenizer import ImageEmbeddings, SAMTok

__all__ = ["ImageEmbeddings", "SAMTok"]


def __getattr__(name: str) -> Any:
    """Import the tokenizer on first use, so that text-only users never load torch."""
    if name not in __all__:
        raise AttributeError(f"module 'samtok' has no attribute {name!r}")
    from samtok import tokenizer

    return getattr(tokenizer, name)
