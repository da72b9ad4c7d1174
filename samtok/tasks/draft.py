"""What a task writes: turns, before they get an id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from samtok.errors import ConfigError
from samtok.scenes.grounded_text import SceneText
from samtok.tasks.answers import Answer
from samtok.tasks.regions import Regions


@dataclass(frozen=True, kw_only=True, slots=True)
class DialogueOptions:
    """Which forms dialogues take."""

    json_share: float = 0.25
    """Share of referring segmentation that asks for a JSON list of masks and labels, 0..1; the rest
    asks for masks only, which is shorter."""
    no_target_share: float = 1.0
    """Share of the expressions that nothing fits which are asked for, 0..1. Data sets of the field
    have few of them or none; a model that has seen few gives a mask where it should refuse."""

    def __post_init__(self) -> None:
        for name in ("json_share", "no_target_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed is 0 to 1")


@dataclass(frozen=True, slots=True)
class Draft:
    """A dialogue without a name."""

    rounds: tuple[tuple[str, Answer], ...]
    """What the user asks and what the assistant answers, at least once."""

    @staticmethod
    def of(prompt: str, answer: Answer) -> Draft:
        """A dialogue of one round."""
        return Draft(((prompt, answer),))


class Task(Protocol):
    """A module of this package that makes dialogues of texts."""

    NAME: str
    """As in `samtok.tasks.TASK_NAMES`; also the name of its file of templates."""

    @staticmethod
    def group_texts(texts: Mapping[int, SceneText]) -> list[tuple[int, ...]]:
        """Positions of the texts that make a dialogue: mostly one text, for some tasks several."""
        ...

    @staticmethod
    def write(
        texts: Sequence[SceneText], regions: Regions, rng: Random, options: DialogueOptions
    ) -> Draft:
        """Make a dialogue of a group; `rng` chooses form and wording."""
        ...
