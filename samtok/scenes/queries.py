"""Which things does a description pick out? Descriptions as data, evaluated on a scene's facts.

Every expression that language emits is first a `Query`; its masks are what `select` finds, never
what the writer of the expression had in mind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from samtok.scenes.facts import PLACES, RELATIONS, SIZES, YES, SceneFacts

EXTREMES: Final = ("leftmost", "rightmost", "topmost", "lowest", "biggest", "smallest")
"""What a query can pick one of several by."""

_MIN_LEAD = 0.05
"""Of the picture's shorter side: how far the leftmost is ahead of the second."""
_DIRECTIONS: Final = {
    "leftmost": (0, -1),
    "rightmost": (0, 1),
    "topmost": (1, -1),
    "lowest": (1, 1),
}
"""Coordinate and sign that grow towards a side of the picture."""


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
    if query not in facts.selected:
        facts.selected[query] = _select(facts, query)
    return facts.selected[query]


def _select(facts: SceneFacts, query: Query) -> tuple[int, ...] | None:
    answers = _answer(facts, query)
    if answers is None:
        return None
    holds, may_hold = answers
    if holds != may_hold or holds >> facts.num_objects:
        return None
    found = tuple(position for position in range(facts.num_objects) if holds >> position & 1)
    if query.extreme is not None:
        return _pick_extreme(facts, query.extreme, found) or None
    return found


def _check(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")


def _answer(facts: SceneFacts, query: Query) -> tuple[int, int] | None:
    """For which things do all conditions but the extreme hold, and for which may they?

    Sets are the bits of integers, by position: a scene's language evaluates thousands of queries
    over a handful of things. The second set contains the first.
    """
    conditions = [
        facts.bits(field, wanted)
        for field in ("category", "color", "texture")
        if (wanted := getattr(query, field)) is not None
    ]
    if query.size is not None:
        conditions.append(facts.bits("size", query.size))
    conditions += [facts.bits("place", place) for place in query.places]
    if query.relation is not None:
        anchor = _find_anchor(facts, query.relation.anchor)
        if anchor is None:
            return None
        conditions.append(facts.bits(query.relation.name, anchor))
    holds = may_hold = (1 << len(facts.things)) - 1
    for position in query.others_than:
        holds &= ~(1 << position)
        may_hold = holds
    for yes, not_no in conditions:
        holds, may_hold = holds & yes, may_hold & not_no
    return holds, may_hold


def _find_anchor(facts: SceneFacts, anchor: Query | int) -> int | None:
    if isinstance(anchor, int):
        return anchor
    found = select(facts, anchor)
    return found[0] if found is not None and len(found) == 1 else None


def _pick_extreme(facts: SceneFacts, extreme: str, found: tuple[int, ...]) -> tuple[int, ...]:
    """The one that clearly leads; nothing if none does or if there is no second."""
    if len(found) < 2:
        return ()
    if extreme in ("biggest", "smallest"):
        bigger = facts.relations["bigger"]
        return tuple(
            thing
            for thing in found
            if all(
                (bigger[thing, other] if extreme == "biggest" else bigger[other, thing]) == YES
                for other in found
                if other != thing
            )
        )
    axis, sign = _DIRECTIONS[extreme]
    ahead = {thing: sign * float(facts.centers[thing, axis]) for thing in found}
    second = sorted(ahead.values())[-2]
    return tuple(thing for thing in found if ahead[thing] >= second + _MIN_LEAD)
