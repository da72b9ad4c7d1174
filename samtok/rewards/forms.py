"""Rewards for the form of a response: its structure, its phrases, and saying no."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from samtok.answer_forms import normalize_phrase, read_answer_part, read_phrases
from samtok.metrics.word_match import count_common
from samtok.words import parse

MAX_REPEATS: Final = 3
"""Times that a response may write the same span."""
NO_MASK_ONLY: Final = 0.2
"""For a response that names no mask, but does not say either that there is none."""

_STRUCTURE = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_TAG = re.compile(r"</?(?:think|answer)>")
_REFUSAL = re.compile(r"\bno\s+targets?\b", re.IGNORECASE)


def think_answer_format(response: str) -> float:
    """1 for ``<think>…</think><answer>…</answer>`` and nothing else, no tag twice; else 0."""
    match = _STRUCTURE.fullmatch(response)
    return float(match is not None and not any(_TAG.search(part) for part in match.groups()))


def no_repeat(response: str) -> float:
    """0 where the same span stands more than three times in a response, else 1.

    Spans are the same when they have the same codes, however they are closed.
    """
    counts = Counter(span.codes or response[span.start : span.end] for span in parse(response))
    return float(max(counts.values(), default=0) <= MAX_REPEATS)


def no_target(response: str) -> float:
    """For an expression that fits nothing: 1 for saying so without a mask.

    Returns:
        1 for ``No target`` in the answer and no mask, 0.2 for no mask without saying so, 0 where
        there is a mask, or what was meant as one.
    """
    answer = read_answer_part(response)
    if parse(answer):
        return 0.0
    return 1.0 if _REFUSAL.search(answer) else NO_MASK_ONLY


def phrase_accuracy(response: str, target: str) -> float:
    """Share of phrases of a grounded text that are right, wherever their masks are.

    Phrases are matched one to one, without regard to case, articles and punctuation.

    Args:
        response: what the model wrote.
        target: the right answer, phrases marked in it.

    Returns:
        True positives / max(predicted, true), 0..1; 1 where neither has a phrase.
    """
    predicted, true = (
        [normalize_phrase(grounded.phrase) for grounded in read_phrases(text)]
        for text in (read_answer_part(response), target)
    )
    if not predicted and not true:
        return 1.0
    return count_common(predicted, true) / max(len(predicted), len(true))
