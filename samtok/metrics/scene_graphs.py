"""Scene graph parsing: recall of triplets, as the PSG benchmark measures it.

Source: Yang et al., "Panoptic scene graph generation", ECCV 2022, and its evaluator (OpenPSG,
``sgg_metrics.py``, detection method ``pan_seg``): a true triplet is found when one of the first K
predicted ones has its three labels and both masks with an IoU of 0.5 or more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

import numpy as np

IOU_THRESHOLD = 0.5

Labels: TypeAlias = tuple[str, str, str]
"""Of subject, predicate and object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletScores:
    """Recall of triplets, 0..1; NaN without triplets."""

    recall: float
    """Mean over images of the share of their triplets found."""
    mean_recall: float
    """The same for each predicate by itself, then the mean over predicates, so that rare ones
    count; over those that occur, where the published one fills up with 0."""
    num_images: int
    """Images with a triplet."""
    num_triplets: int


class TripletTally:
    """Adds up images in any order.

    Args:
        top_k: predictions of an image that count, in the order they were written.
    """

    def __init__(self, *, top_k: int = 20) -> None:
        self._top_k = top_k
        self._recalls: list[float] = []
        self._recalls_of: dict[str, list[float]] = defaultdict(list)
        self._num_triplets = 0

    def add(
        self,
        predictions: Sequence[Labels],
        targets: Sequence[Labels],
        subject_ious: np.ndarray,
        object_ious: np.ndarray,
    ) -> None:
        """Add an image; one without true triplets does not count.

        Args:
            predictions: P of them, most certain first.
            targets: T of them; labels are compared as they are.
            subject_ious: float, shape (P, T): of the subjects' masks, 0..1.
            object_ious: float, shape (P, T): of the objects' masks.

        Raises:
            ValueError: the IoUs have another shape.
        """
        shape = (len(predictions), len(targets))
        if subject_ious.shape != shape or object_ious.shape != shape:
            raise ValueError(
                f"IoUs have shapes {subject_ious.shape} and {object_ious.shape}; expected {shape}"
            )
        if not targets:
            return
        same = np.array([[p == t for t in targets] for p in predictions], dtype=bool).reshape(shape)
        located = (subject_ious >= IOU_THRESHOLD) & (object_ious >= IOU_THRESHOLD)
        found = np.any((same & located)[: self._top_k], axis=0)
        self._num_triplets += len(targets)
        self._recalls.append(float(found.mean()))
        predicates = np.array([predicate for _, predicate, _ in targets], dtype=object)
        for predicate in sorted(set(predicates.tolist())):
            share = found[predicates == predicate].mean()
            self._recalls_of[predicate].append(float(share))

    def scores(self) -> TripletScores:
        """Of what has been added so far."""
        means = [fmean(recalls) for recalls in self._recalls_of.values()]
        return TripletScores(
            recall=fmean(self._recalls) if self._recalls else float("nan"),
            mean_recall=fmean(means) if means else float("nan"),
            num_images=len(self._recalls),
            num_triplets=self._num_triplets,
        )
