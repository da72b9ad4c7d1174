"""Matching rewards: how many of a response's masks are the right ones.

All three pair predicted and true masks one to one, so that the credit is highest, and divide its
sum by max(predicted, true). Predictions are counted as they were written, repetitions and
malformed ones included, but matched once each, so neither repeating nor guessing pays. Masks of a
target are a set: two that share both words count once. With nothing predicted where nothing is
right, the reward is 1. Only the answer part of a think/answer response is read.

Source: answer matching is the paper's reward (arXiv 2601.16093); graded and soft are ours.

Letters: P distinct predictions, T true masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from samtok.answer_forms import Codes, read_answer_part, read_codes
from samtok.rewards.similarity import CodeSimilarity
from samtok.words import parse

BADLY_CLOSED: Final = 0.8
"""Share of the credit that a span keeps whose words can be read though it is not well formed."""
FIRST_WORD: Final = 0.4
"""Credit for the first word alone."""


def answer_matching(response: str, target: str) -> float:
    """Share of masks that are exactly right: well-formed spans with both words.

    Args:
        response: what the model wrote.
        target: the right answer, or just its spans.

    Returns:
        True positives / max(predicted, true), 0..1.
    """
    return _match(
        response, target, lambda predicted, true, closed: _equal(predicted, true) * (closed == 1)
    )


def graded_matching(response: str, target: str) -> float:
    """As `answer_matching`, with part of the credit for masks that are nearly right.

    An exact span counts 1, one with both words that is badly closed 0.8, one with the first word
    only 0.4.
    """

    def grade(predicted: np.ndarray, true: np.ndarray, closed: np.ndarray) -> np.ndarray:
        first = FIRST_WORD * (predicted[:, None, 0] == true[None, :, 0])
        return np.maximum(_equal(predicted, true) * closed, first)

    return _match(response, target, grade)


def soft_matching(response: str, target: str, similarity: CodeSimilarity) -> float:
    """As `answer_matching`, each pair credited by how alike its codes are.

    Args:
        response: what the model wrote.
        target: the right answer, or just its spans.
        similarity: of codes. A span that is not well formed keeps 0.8 of its similarity.

    Returns:
        Sum over the best one-to-one assignment / max(predicted, true), 0..1.
    """
    return _match(
        response, target, lambda predicted, true, closed: similarity(predicted, true) * closed
    )


_Credit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Codes (P, 2), codes (T, 2) and how well predictions are closed, 1 or 0.8, (P, 1) → (P, T)."""


def _match(response: str, target: str, credit: _Credit) -> float:
    spans = parse(read_answer_part(response))
    true = list(dict.fromkeys(read_codes(target)))
    if not spans and not true:
        return 1.0
    closed: dict[Codes, float] = {}
    for span in spans:
        if span.codes is not None:
            how_well = 1.0 if span.status == "well_formed" else BADLY_CLOSED
            closed[span.codes] = max(how_well, closed.get(span.codes, 0.0))
    if not closed or not true:
        return 0.0
    credits_ = credit(
        np.array(list(closed), dtype=np.int64),
        np.array(true, dtype=np.int64),
        np.array(list(closed.values()))[:, None],
    )
    rows, columns = linear_sum_assignment(credits_, maximize=True)
    return float(credits_[rows, columns].sum() / max(len(spans), len(true)))


def _equal(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    equal: np.ndarray = (predicted[:, None] == true[None]).all(axis=2)
    return equal
