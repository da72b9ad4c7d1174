"""Which things does a description pick out? Descriptions as data, evaluated on a scene's facts.

Every expression that language emits is first a `Query`; its masks are what `select` finds, never
what the writer of the expression had in mind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from samtok.scenes.facts import NO, PLACES, RELATIONS, SIZES, UNCLEAR, YES, SceneFacts

EXTREMES: Final = ("leftmost", "rightmost", "topmost", "lowest", "biggest", "smallest")
"""What a query can pick one of several by."""

_MIN_LEAD = 0.05
"""Of the picture's shorter side: how far the leftmost is ahead of the second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """Standing in a relation to another thing."""

    name: str
    """One of `facts.RELATIONS`."""
    anchor: Query | int
    """What to: a description of exactly one thing, or a position in `Scene.objects`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A description: all conditions that are not None must hold."""

    category: str | None = None
    """What it is; None for any thing."""
    color: str | None = None
    """Key of `paint.COLORS`."""
    texture: str | None = None
    """One of `paint.TEXTURES`."""
    size: str | None = None
    """One of `facts.SIZES`."""
    places: tuple[str, ...] = ()
    """All of these of `facts.PLACES`."""
    relation: Relation | None = None
    """To another thing."""
    extreme: str | None = None
    """One of :data:`EXTREMES` among all that meet the other conditions."""
    others_than: tuple[int, ...] = ()
    """Positions in `Scene.objects` that do not count."""

    def __post_init__(self) -> None:
        _check("size", self.size, SIZES)
        _check("extreme", self.extreme, EXTREMES)
        for place in self.places:
            _check("place", place, PLACES)
        if self.relation is not None:
            _check("relation", self.relation.name, RELATIONS)


def select(facts: SceneFacts, query: Query) -> tuple[int, ...] | None:
    """Find what a description picks out.

    Args:
        facts: of the scene.
        query: the description.

    Returns:
        Positions in `Scene.objects`, ascending; empty if clearly nothing answers to it. None if a
        borderline case leaves it open, or if it picks out something that shows too little to have
        a mask.
    """
    answers = _answer(facts, query)
    if answers is None or (answers == UNCLEAR).any():
        return None
    found = np.flatnonzero(answers == YES)
    if (found >= facts.num_objects).any():
        return None
    if query.extreme is not None:
        found = _pick_extreme(facts, query.extreme, found)
        return None if len(found) == 0 else tuple(found.tolist())
    return tuple(found.tolist())


def _check(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")


def _answer(facts: SceneFacts, query: Query) -> np.ndarray | None:
    """Do all conditions but the extreme hold, for every thing? int8, shape (T,)."""
    answers = [np.full(len(facts.things), YES, dtype=np.int8)]
    for field in ("category", "color", "texture"):
        wanted = getattr(query, field)
        if wanted is not None:
            holds = [getattr(thing, field) == wanted for thing in facts.things]
            answers.append(np.array(holds, dtype=np.int8))
    if query.size is not None:
        answers.append(facts.sizes[query.size])
    answers += [facts.places[place] for place in query.places]
    if query.relation is not None:
        anchor = _find_anchor(facts, query.relation.anchor)
        if anchor is None:
            return None
        answers.append(facts.relations[query.relation.name][:, anchor])
    if query.others_than:
        counts = np.full(len(facts.things), YES, dtype=np.int8)
        counts[list(query.others_than)] = NO
        answers.append(counts)
    stacked = np.stack(answers)
    refused, unclear = (stacked == NO).any(axis=0), (stacked == UNCLEAR).any(axis=0)
    answer: np.ndarray = np.where(refused, NO, np.where(unclear, UNCLEAR, YES)).astype(np.int8)
    return answer


def _find_anchor(facts: SceneFacts, anchor: Query | int) -> int | None:
    if isinstance(anchor, int):
        return anchor
    found = select(facts, anchor)
    return found[0] if found is not None and len(found) == 1 else None


def _pick_extreme(facts: SceneFacts, extreme: str, found: np.ndarray) -> np.ndarray:
    """The one that clearly leads; nothing if none does or if there is no second."""
    if len(found) < 2:
        return found[:0]
    if extreme in ("biggest", "smallest"):
        bigger = facts.relations["bigger"][np.ix_(found, found)] == YES
        wins = bigger.sum(axis=1 if extreme == "biggest" else 0)
        leads = wins == len(found) - 1
    else:
        leads = _leads_clearly(_measure_lead(facts.centers[found], extreme))
    winner: np.ndarray = found[leads]
    return winner


def _measure_lead(centers: np.ndarray, extreme: str) -> np.ndarray:
    """How far each is ahead towards a side of the picture."""
    ahead: np.ndarray = {
        "leftmost": -centers[:, 0],
        "rightmost": centers[:, 0],
        "topmost": -centers[:, 1],
        "lowest": centers[:, 1],
    }[extreme]
    return ahead


def _leads_clearly(ahead: np.ndarray) -> np.ndarray:
    """True for the first, if the second is far enough behind."""
    second = np.sort(ahead)[-2]
    leads: np.ndarray = ahead >= second + _MIN_LEAD
    return leads
