"""The words of the language of scenes, by what they stand for: to compare texts by meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from samtok.scenes.paint import COLORS
from samtok.scenes.plan import list_categories
from samtok.scenes.wording import (
    CATEGORY_WORDS,
    COLOR_WORDS,
    PREDICATE_WORDS,
    TEXTURE_ADJECTIVES,
    TEXTURE_ENDINGS,
    pluralize,
)

TERM_KINDS: Final = ("color", "category", "texture", "predicate")
"""Kinds of things that words of this language name."""


def list_terms(kind: str) -> dict[str, str]:
    """Words and phrases of a kind, plurals of categories included → what they stand for.

    Args:
        kind: one of `TERM_KINDS`.
    """
    if kind == "predicate":
        return _invert(PREDICATE_WORDS)
    if kind == "texture":
        return _invert(TEXTURE_ADJECTIVES) | _invert(TEXTURE_ENDINGS)
    if kind == "color":
        return _with_own_names(COLORS, COLOR_WORDS)
    nouns = _with_own_names(list_categories(), CATEGORY_WORDS)
    return nouns | {pluralize(noun): meaning for noun, meaning in nouns.items()}


def _invert(words: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {word: meaning for meaning, several in words.items() for word in several}


def _with_own_names(names: Iterable[str], words: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {name: name for name in names} | _invert(words)
