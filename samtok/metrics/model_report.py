"""What a language model's answers are worth: figures by task, added up by conversation.

`ModelTally` takes texts, and what `samtok.metrics.answer_measures` found of their masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import Final

from samtok.answer_forms import read_answer_part
from samtok.metrics.answer_measures import AnswerMeasures
from samtok.metrics.task_figures import (
    AgreementFigures,
    CaptionFigures,
    Figures,
    GraphFigures,
    GroundingFigures,
    Judged,
    Language,
    NamingFigures,
    PhraseFigures,
    RoundFigures,
    SegmentationFigures,
    TaskFigures,
    WordFigures,
)

_PARTS: Final[dict[str, tuple[Callable[[Language], TaskFigures], ...]]] = {
    "referring_segmentation": (SegmentationFigures, WordFigures),
    "interactive_segmentation": (RoundFigures, WordFigures),
    "grounded_conversation": (GroundingFigures, PhraseFigures, CaptionFigures, WordFigures),
    "scene_graph": (GraphFigures, WordFigures),
    "region_captioning": (NamingFigures, CaptionFigures),
    "region_vqa": (AgreementFigures,),
    "general_vqa": (AgreementFigures,),
}
"""By task, in the order of a report."""


class ModelTally:
    """Adds up conversations of all tasks.

    Args:
        language: what texts are compared by.
    """

    def __init__(self, language: Language) -> None:
        self._language = language
        self._tallies: dict[str, tuple[TaskFigures, ...]] = {}
        self._counts: dict[str, int] = {}

    def add(
        self, task: str, answers: Sequence[str], targets: Sequence[str], measures: AnswerMeasures
    ) -> None:
        """Add a conversation.

        Args:
            task: one of `samtok.tasks.TASK_NAMES`.
            answers: of the model, by round.
            targets: the right ones.
            measures: of their masks.
        """
        if task not in self._tallies:
            parts = _PARTS[task]
            self._tallies[task] = tuple(part(self._language) for part in parts)
        judged = Judged(
            answers=tuple(read_answer_part(answer) for answer in answers),
            targets=tuple(targets),
            measures=measures,
        )
        self._counts[task] = self._counts.get(task, 0) + 1
        for tally in self._tallies[task]:
            tally.add(judged)

    def report(self) -> dict[str, Figures]:
        """Task → figures; with the number of conversations, without what could not be measured."""
        report: dict[str, Figures] = {}
        for task in _PARTS:
            if task in self._tallies:
                merged = {
                    name: value
                    for tally in self._tallies[task]
                    for name, value in tally.figures().items()
                    if not isnan(value)
                }
                report[task] = {"conversations": self._counts[task], **merged}
        return report
