"""Prompts in an order that depends on the seed alone, from any position on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pipelines.grpo.records import PromptTask
from pipelines.training.conversations import ConversationCorpus
from pipelines.training.plan import Mixture, plan_windows, shuffle_of


class PromptStream:
    """An endless stream of numbered prompts, epoch after epoch.

    Args:
        corpora: that they come from.
        mixture: how they are mixed, with one lane.
    """

    def __init__(self, corpora: tuple[ConversationCorpus, ...], mixture: Mixture) -> None:
        self._corpora = corpora
        self._mixture = mixture
        self.seek(0)

    def seek(self, number: int) -> None:
        """Go on with the prompt of this number."""
        self.next_number = number
        self._prompts = self._read(number)

    def take(self, count: int) -> list[PromptTask]:
        """The next prompts."""
        taken = list(islice(self._prompts, count))
        self.next_number += count
        return taken

    def _read(self, first: int) -> Iterator[PromptTask]:
        size = self._mixture.images_per_window
        first_window, skipped = divmod(first, size)
        for window in plan_windows(self._mixture, 0, first=first_window):
            rows = [row for run in window.runs for row in self._corpora[run.corpus].read(*run[1:3])]
            order = shuffle_of(self._mixture, window).tolist()
            for position in range(skipped, size):
                yield PromptTask(window.number * size + position, rows[order[position]])
            skipped = 0
