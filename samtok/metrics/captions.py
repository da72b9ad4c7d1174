"""METEOR and CIDEr of captions, by the COCO caption evaluation (``pycocoevalcap``).

An optional extra. It brings all its data, METEOR's synonyms included: it needs a Java runtime, but
no network.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from samtok.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionScores:
    """As the COCO caption evaluation gives them."""

    meteor: float
    """0..1."""
    cider: float
    """0..10; relative to all references given, so it means something over many captions only."""


def explain_missing_scorers() -> str | None:
    """What `score_captions` lacks on this machine, or None."""
    if find_spec("pycocoevalcap") is None:
        return "METEOR and CIDEr need the package pycocoevalcap: pip install 'samtok[captions]'"
    if shutil.which("java") is None:
        return "METEOR and CIDEr need a Java runtime (8 or newer): `java` is not on the PATH"
    return None


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Score captions against references, tokenized as the published evaluation does.

    Args:
        captions: N of them, at least 1.
        references: N lists of at least one.

    Raises:
        ConfigError: a scorer is not installed.
        ValueError: not the same number of captions and lists.
    """
    missing = explain_missing_scorers()
    if missing is not None:
        raise ConfigError(missing)
    if len(captions) != len(references):
        raise ValueError(f"{len(captions)} captions have {len(references)} lists of references")
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor

    found = _tokenize([[caption] for caption in captions])
    wanted = _tokenize(references)
    meteor, _ = Meteor().compute_score(wanted, found)
    cider, _ = Cider().compute_score(wanted, found)
    return CaptionScores(meteor=float(meteor), cider=float(cider))


def _tokenize(texts: Sequence[Sequence[str]]) -> dict[int, list[str]]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    # A caption without a line break is a line to the tokenizer, which must give back as many.
    rows: dict[int, list[dict[str, Any]]] = {
        i: [{"caption": " ".join(text.split()) or "."} for text in group]
        for i, group in enumerate(texts)
    }
    tokenized: dict[int, list[str]] = PTBTokenizer().tokenize(rows)
    return tokenized
