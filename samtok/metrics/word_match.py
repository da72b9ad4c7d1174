"""Do the words of an answer equal the right ones? Cheap, and blind to masks that look alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from samtok.answer_forms import Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class WordMatchScores:
    """Shares of the right masks, 0..1; NaN without any."""

    exact: float
    """Masks whose two words are in the answer."""
    first: float
    """Masks whose first word is in the answer."""
    all_exact: float
    """Answers with just the right pairs, in any order; NaN without answers."""
    num_masks: int
    num_answers: int


class WordMatchTally:
    """Adds up answers in any order. Words are matched one to one: said once, counted once."""

    def __init__(self) -> None:
        self._num_masks = self._num_answers = 0
        self._num_exact = self._num_first = self._num_all = 0

    def add(self, predicted: Sequence[Codes], target: Sequence[Codes]) -> None:
        """Add an answer by the codes in it and those that should be."""
        exact = count_common(predicted, target)
        self._num_exact += exact
        self._num_first += count_common((c for c, _ in predicted), (c for c, _ in target))
        self._num_all += exact == len(predicted) == len(target)
        self._num_masks += len(target)
        self._num_answers += 1

    def scores(self) -> WordMatchScores:
        """Of what has been added so far."""
        masks, answers = self._num_masks, self._num_answers
        nan = float("nan")
        return WordMatchScores(
            exact=self._num_exact / masks if masks else nan,
            first=self._num_first / masks if masks else nan,
            all_exact=self._num_all / answers if answers else nan,
            num_masks=masks,
            num_answers=answers,
        )


def count_common(first: Iterable[object], second: Iterable[object]) -> int:
    """Size of the intersection of two collections, repetitions counted."""
    return (Counter(first) & Counter(second)).total()
