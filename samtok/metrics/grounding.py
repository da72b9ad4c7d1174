"""Grounded conversation generation: are the phrases of a description at the right masks?

As the published evaluator of GranD-f measures it (GLaMM, arXiv 2311.03356, ``eval/gcg``): mean IoU
of greedily paired masks, AP at IoU 0.5 with every score 1, and recall of masks whose phrase means
the same. Its sentence embeddings come from a model of a hub; here the similarity is an argument,
and the default compares words.

Letters: P predicted and T true phrases of an image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np

from samtok.answer_forms import normalize_phrase

PhraseSimilarity: TypeAlias = Callable[[str, str], float]
"""Two phrases → -1..1, 1 where they mean the same."""

IOU_THRESHOLD = 0.5
SIMILARITY_THRESHOLD = 0.5

_MAX_DETECTIONS = 100  # per image, as COCO counts
_RECALL_LEVELS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundingScores:
    """How well phrases are grounded; 0..1."""

    mean_iou: float
    """Mean over images of the mean IoU of their paired masks; masks left over do not count, an
    image without a pair counts 0. NaN without images."""
    ap50: float
    """Average precision at IoU 0.5, all scores equal; NaN without true masks."""
    recall: float
    """Share of true phrases found with IoU and similarity of 0.5 or more; NaN without any."""
    num_images: int
    num_phrases: int
    """True ones."""


class GroundingTally:
    """Adds up images. AP depends on their order, as the published one does on image ids."""

    def __init__(self) -> None:
        self._ious: list[float] = []
        self._detections: list[bool] = []
        self._num_targets = self._num_found = 0

    def add(
        self,
        ious: np.ndarray,
        predicted_phrases: Sequence[str],
        target_phrases: Sequence[str],
        similarity: PhraseSimilarity | None = None,
    ) -> None:
        """Add an image.

        Args:
            ious: float, shape (P, T): of every predicted with every true mask, 0..1; several masks
                behind a phrase are merged before.
            predicted_phrases: P, one per mask.
            target_phrases: T, one per mask.
            similarity: of phrases; `word_similarity` where not given.

        Raises:
            ValueError: ious has another shape.
        """
        shape = (len(predicted_phrases), len(target_phrases))
        if ious.shape != shape:
            raise ValueError(f"ious has shape {ious.shape}; the phrases are {shape}")
        self._num_targets += len(target_phrases)
        self._ious.append(mean_paired_iou(ious))
        self._detections += match_detections(ious)
        self._num_found += count_found(
            ious, predicted_phrases, target_phrases, similarity or word_similarity
        )

    def scores(self) -> GroundingScores:
        """Of what has been added so far."""
        nan = float("nan")
        return GroundingScores(
            mean_iou=float(np.mean(self._ious)) if self._ious else nan,
            ap50=average_precision(self._detections, self._num_targets),
            recall=self._num_found / self._num_targets if self._num_targets else nan,
            num_images=len(self._ious),
            num_phrases=self._num_targets,
        )


def mean_paired_iou(ious: np.ndarray) -> float:
    """Pair masks, highest IoU first, while it is above 0; float (P, T) → their mean, 0 if none."""
    rest = ious.astype(np.float64)
    paired = []
    while rest.size and rest.max() > 0:
        row, column = divmod(int(rest.argmax()), rest.shape[1])
        paired.append(rest[row, column])
        rest[row], rest[:, column] = 0, 0
    return float(np.mean(paired)) if paired else 0.0


def match_detections(ious: np.ndarray) -> list[bool]:
    """Say of each prediction whether it takes a true mask, in their order, as COCO matches.

    Args:
        ious: float, shape (P, T).

    Returns:
        P of them, at most 100.
    """
    free = np.ones(ious.shape[1], dtype=bool)
    is_match = []
    for row in ious[:_MAX_DETECTIONS]:
        candidates = np.where(free & (row >= IOU_THRESHOLD), row, -1.0)
        is_match.append(bool((candidates >= 0).any()))
        if is_match[-1]:
            # Of equal ones COCO takes the last.
            free[len(row) - 1 - int(candidates[::-1].argmax())] = False
    return is_match


def average_precision(detections: Sequence[bool], num_targets: int) -> float:
    """Area under precision and recall at COCO's 101 levels of recall.

    Args:
        detections: is it right? By descending score.
        num_targets: to be found in all.

    Returns:
        0..1; NaN without targets.
    """
    if num_targets == 0:
        return float("nan")
    found = np.cumsum(np.array(detections, dtype=np.float64))
    precision = found / np.arange(1, len(found) + 1)
    # The best precision from here on.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(found / num_targets, _RECALL_LEVELS, side="left")
    return float(np.append(precision, 0.0)[place].mean())


def count_found(
    ious: np.ndarray,
    predicted_phrases: Sequence[str],
    target_phrases: Sequence[str],
    similarity: PhraseSimilarity,
) -> int:
    """True phrases that a prediction hits in both mask and meaning.

    Pairs are taken highest IoU first, and the first one that fails ends it, even where the next
    would not: so the published evaluator counts.
    """
    rest = ious.T.astype(np.float64)
    count = 0
    while rest.size:
        true, predicted = divmod(int(rest.argmax()), rest.shape[1])
        if rest[true, predicted] < IOU_THRESHOLD:
            break
        if similarity(target_phrases[true], predicted_phrases[predicted]) < SIMILARITY_THRESHOLD:
            break
        count += 1
        rest[true], rest[:, predicted] = 0, 0
    return count


def word_similarity(first: str, second: str) -> float:
    """Cosine of two phrases' word counts, articles and punctuation left out; 0..1."""
    words = [Counter(normalize_phrase(phrase).split()) for phrase in (first, second)]
    product = sum(count * words[1][word] for word, count in words[0].items())
    squares = [sum(count**2 for count in counts.values()) for counts in words]
    return product / sqrt(squares[0] * squares[1]) if product else 0.0
