"""What is measured where the masks are: how those of an answer lie on those of the right one.

Masks are looked up by the codes in the texts: an answer's as the tokenizer decodes them on the
image, the right ones as the corpus has them. Only small numbers come out, which a report adds up.

Letters: P predicted and T true phrases or triplets, H W pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from samtok.answer_forms import (
    Codes,
    GroundedPhrase,
    read_answer_part,
    read_codes,
    read_phrases,
    read_triplets,
)
from samtok.metrics.boxes import has_right_box
from samtok.metrics.segmentation import Overlap, measure_overlap, pairwise_iou

MasksByCodes: TypeAlias = Mapping[Codes, np.ndarray]
"""Masks of one image, bool (H, W), by their codes."""

Matrix: TypeAlias = list[list[float]]
"""IoU of P predicted with T true masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMeasures:
    """Numbers of one conversation; plain values, by `to_json`."""

    overlaps: tuple[Overlap, ...]
    """Of each round: all masks of the answer merged, on all of the right one merged."""
    has_right_box: bool | None
    """Of the last round; None where it has not exactly one true mask."""
    phrase_ious: Matrix
    """P by T: masks of phrases, those behind one phrase merged; phrases without masks left out."""
    subject_ious: Matrix
    """P by T, of triplets."""
    object_ious: Matrix

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> AnswerMeasures:
        """What `to_json` gave."""
        overlaps = tuple(Overlap(*overlap) for overlap in values["overlaps"])
        return AnswerMeasures(**{**values, "overlaps": overlaps})


def measure_answers(
    answers: Sequence[str],
    targets: Sequence[str],
    *,
    decoded: MasksByCodes,
    true: MasksByCodes,
    size: tuple[int, int],
) -> AnswerMeasures:
    """Compare the answers of a conversation with the right ones.

    Args:
        answers: what the model said in each round.
        targets: what it should have said.
        decoded: every mask of the answers.
        true: every mask of the targets.
        size: H, W.

    Raises:
        KeyError: a mask of the texts is not in the mappings.
    """
    said = [read_answer_part(answer) for answer in answers]
    merged = [
        (_merge(read_codes(answer), decoded, size), _merge(read_codes(target), true, size))
        for answer, target in zip(said, targets, strict=True)
    ]
    single = len(set(read_codes(targets[-1]))) == 1
    phrases = list_grounded(said[-1]), list_grounded(targets[-1])
    triplets = read_triplets(said[-1]), read_triplets(targets[-1])
    compare = partial(_compare, decoded=decoded, true=true, size=size)
    return AnswerMeasures(
        overlaps=tuple(measure_overlap(prediction, target) for prediction, target in merged),
        has_right_box=has_right_box(*merged[-1]) if single and merged[-1][1].any() else None,
        phrase_ious=compare(*([phrase.codes for phrase in side] for side in phrases)),
        subject_ious=compare(*([triplet.subject_codes for triplet in side] for side in triplets)),
        object_ious=compare(*([triplet.object_codes for triplet in side] for side in triplets)),
    )


def list_grounded(text: str) -> list[GroundedPhrase]:
    """Phrases of a text that have masks."""
    return [phrase for phrase in read_phrases(text) if phrase.codes]


def list_codes(texts: Sequence[str]) -> list[Codes]:
    """Every mask that some answers name, each once, in order."""
    return list(dict.fromkeys(codes for text in texts for codes in read_codes(text)))


def _compare(
    predicted: list[tuple[Codes, ...]],
    targets: list[tuple[Codes, ...]],
    *,
    decoded: MasksByCodes,
    true: MasksByCodes,
    size: tuple[int, int],
) -> Matrix:
    if not predicted or not targets:
        return [[] for _ in predicted]
    masks = np.stack([_merge(codes, decoded, size) for codes in predicted])
    true_masks = np.stack([_merge(codes, true, size) for codes in targets])
    ious: Matrix = pairwise_iou(masks, true_masks).tolist()
    return ious


def _merge(codes: Sequence[Codes], masks: MasksByCodes, size: tuple[int, int]) -> np.ndarray:
    merged = np.zeros(size, dtype=bool)
    for pair in codes:
        merged |= masks[pair]
    return merged
