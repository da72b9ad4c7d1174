"""Figures of each task: small tallies, several of which make up what a task is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from samtok.answer_forms import (
    Triplet,
    read_codes,
    read_phrases,
    read_triplets,
    strip_masks,
)
from samtok.metrics.answer_measures import AnswerMeasures, Matrix, list_grounded
from samtok.metrics.captions import CaptionScores
from samtok.metrics.gres import GresTally, RoundTally
from samtok.metrics.grounding import GroundingTally
from samtok.metrics.scene_graphs import Labels, TripletTally
from samtok.metrics.terms import Terms
from samtok.metrics.word_match import WordMatchTally
from samtok.words import parse

Figures: TypeAlias = dict[str, float]
"""Name → value, shares in 0..1 except CIDEr."""

CaptionScorer: TypeAlias = Callable[[Sequence[str], Sequence[Sequence[str]]], CaptionScores]
"""As `samtok.metrics.captions.score_captions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A conversation, answered and measured."""

    answers: tuple[str, ...]
    """Of the model, by round, without its reasoning."""
    targets: tuple[str, ...]
    """The right ones."""
    measures: AnswerMeasures


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What texts are compared by."""

    kinds: Mapping[str, Terms]
    """Kinds of things that a caption can name, e.g. color."""
    wording: Terms
    """Terms that count as equal in answers and labels."""
    score_captions: CaptionScorer | None
    """METEOR and CIDEr; None leaves them out."""


class TaskFigures(Protocol):
    """Adds up the conversations of a task."""

    def add(self, judged: Judged) -> None:
        """Add a conversation."""
        ...

    def figures(self) -> Figures:
        """Of what has been added; NaN where there was nothing to measure."""
        ...


class SegmentationFigures:
    """gRefCOCO's figures of the last answer, and the box where there is one target."""

    def __init__(self, language: Language) -> None:
        self._gres = GresTally()
        self._boxes: list[bool] = []

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        self._gres.add_overlap(judged.measures.overlaps[-1])
        if judged.measures.has_right_box is not None:
            self._boxes.append(judged.measures.has_right_box)

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        scores = self._gres.scores()
        return {
            "g_iou": scores.g_iou,
            "c_iou": scores.c_iou,
            "n_acc": scores.n_acc,
            "t_acc": scores.t_acc,
            "rec_accuracy": _mean(self._boxes),
        }


class RoundFigures:
    """Figures of every round by itself."""

    def __init__(self, language: Language) -> None:
        self._rounds = RoundTally()
        self._all = GresTally()

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        for number, overlap in enumerate(judged.measures.overlaps, start=1):
            self._rounds.add_overlap(number, overlap)
            self._all.add_overlap(overlap)

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        overall = self._all.scores()
        return {
            "g_iou": overall.g_iou,
            "c_iou": overall.c_iou,
            **{f"c_iou_round_{n}": s.c_iou for n, s in self._rounds.scores().items()},
        }


class GroundingFigures:
    """Phrases at their masks."""

    def __init__(self, language: Language) -> None:
        self._tally = GroundingTally()
        self._wording = language.wording

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        predicted, true = (
            [self._wording.canonicalize(grounded.phrase) for grounded in list_grounded(text)]
            for text in (judged.answers[-1], judged.targets[-1])
        )
        ious = _matrix(judged.measures.phrase_ious, len(predicted), len(true))
        self._tally.add(ious, predicted, true)

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        scores = self._tally.scores()
        return {"mean_iou": scores.mean_iou, "ap50": scores.ap50, "recall": scores.recall}


class GraphFigures:
    """Triplets with their masks."""

    def __init__(self, language: Language) -> None:
        self._tally = TripletTally()
        self._wording = language.wording

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        predicted, true = (
            [self._name(triplet) for triplet in read_triplets(text)]
            for text in (judged.answers[-1], judged.targets[-1])
        )
        shape = (len(predicted), len(true))
        measures = judged.measures
        self._tally.add(
            predicted,
            true,
            _matrix(measures.subject_ious, *shape),
            _matrix(measures.object_ious, *shape),
        )

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        scores = self._tally.scores()
        return {"triplet_recall": scores.recall, "triplet_mean_recall": scores.mean_recall}

    def _name(self, triplet: Triplet) -> Labels:
        subject, predicate, object_ = map(self._wording.canonicalize, triplet[:3])
        return subject, predicate, object_


class NamingFigures:
    """What captions name rightly, of each kind.

    Only captions whose right answer names every kind count. A short phrase that singles a thing
    out leaves most unsaid, and which part is open: "the pole" is as right as "the orange thing".
    """

    def __init__(self, language: Language) -> None:
        self._kinds = language.kinds
        self._is_right: dict[str, list[bool]] = {kind: [] for kind in self._kinds}

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        answer, target = strip_masks(judged.answers[-1]), strip_masks(judged.targets[-1])
        right = {kind: terms.find_in_subject(target) for kind, terms in self._kinds.items()}
        if None in right.values():
            return
        for kind, terms in self._kinds.items():
            self._is_right[kind].append(terms.find_in_subject(answer) == right[kind])

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        return {f"names_{kind}": _mean(right) for kind, right in self._is_right.items()}


class AgreementFigures:
    """Answers in words that equal the right one, and the masks that some have beside them."""

    def __init__(self, language: Language) -> None:
        self._wording = language.wording
        self._agrees: list[bool] = []
        self._masks = GresTally()

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        answer, target = judged.answers[-1], judged.targets[-1]
        self._agrees.append(self._wording.agree(strip_masks(answer), strip_masks(target)))
        if read_codes(target):
            self._masks.add_overlap(judged.measures.overlaps[-1])

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        return {"accuracy": _mean(self._agrees), "g_iou": self._masks.scores().g_iou}


class CaptionFigures:
    """METEOR and CIDEr, over all captions at once."""

    def __init__(self, language: Language) -> None:
        self._score = language.score_captions
        self._captions: list[str] = []
        self._references: list[list[str]] = []

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        if self._score is not None:
            self._captions.append(strip_masks(judged.answers[-1]))
            self._references.append([strip_masks(judged.targets[-1])])

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        if self._score is None or not self._captions:
            return {}
        scores = self._score(self._captions, self._references)
        return {"meteor": scores.meteor, "cider": scores.cider}


class WordFigures:
    """Mask words: whether they are the right ones, and whether they can be read."""

    def __init__(self, language: Language) -> None:
        self._tally = WordMatchTally()
        self._num_spans = self._num_well_formed = 0

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        for answer, target in zip(judged.answers, judged.targets, strict=True):
            spans = parse(answer)
            self._num_spans += len(spans)
            self._num_well_formed += sum(span.status == "well_formed" for span in spans)
            self._tally.add(read_codes(answer), read_codes(target))

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        scores = self._tally.scores()
        well_formed = self._num_well_formed / self._num_spans if self._num_spans else float("nan")
        return {
            "words_exact": scores.exact,
            "words_first": scores.first,
            "words_all_exact": scores.all_exact,
            "well_formed": well_formed,
        }


class PhraseFigures:
    """Phrases alone, whatever their masks."""

    def __init__(self, language: Language) -> None:
        self._wording = language.wording
        self._shares: list[float] = []

    def add(self, judged: Judged) -> None:
        """See `TaskFigures`."""
        predicted, true = (
            {self._wording.canonicalize(grounded.phrase) for grounded in read_phrases(text)}
            for text in (judged.answers[-1], judged.targets[-1])
        )
        if true:
            self._shares.append(len(predicted & true) / len(true))

    def figures(self) -> Figures:
        """See `TaskFigures`."""
        return {"phrases_named": float(np.mean(self._shares)) if self._shares else float("nan")}


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _matrix(ious: Matrix, num_predicted: int, num_true: int) -> np.ndarray:
    return np.array(ious, dtype=np.float64).reshape(num_predicted, num_true)
