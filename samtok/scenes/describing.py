"""Descriptions that pick out exactly one thing of a scene, or none that exists.

The minimal distinguishing description: conditions true of the thing are tried few at a time, and
those kept for which `select` finds this thing and no other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from samtok.scenes.facts import PLACES, RELATIONS, SIZES, YES, SceneFacts
from samtok.scenes.paint import COLORS, TEXTURES
from samtok.scenes.plan import list_categories
from samtok.scenes.queries import EXTREMES, Query, Relation, select
from samtok.scenes.wording import PLACE_WORDS

_LEVELS: Final[tuple[tuple[tuple[str, ...], ...], ...]] = (
    (("category",), ("color",)),
    (
        ("extreme",),
        ("category", "color"),
        ("category", "texture"),
        ("category", "size"),
        ("category", "places"),
        ("category", "extreme"),
        ("category", "relation"),
        ("color", "places"),
        ("color", "relation"),
    ),
    (
        ("category", "color", "texture"),
        ("category", "color", "size"),
        ("category", "color", "places"),
        ("category", "color", "extreme"),
        ("category", "color", "relation"),
        ("category", "texture", "relation"),
        ("category", "size", "places"),
    ),
    (
        ("category", "color", "texture", "size"),
        ("category", "color", "texture", "places"),
        ("category", "color", "size", "relation"),
        ("category", "color", "places", "relation"),
    ),
)
"""Which conditions a description may join, fewest first."""

_MORE_THAN_NEEDED = 0.3
"""Share of descriptions with a condition more than would do, as people make them."""
_MAX_ANCHORS = 3


@dataclass(frozen=True, slots=True)
class Telling:
    """What every writer of language works with."""

    facts: SceneFacts
    """Of the scene."""
    rng: np.random.Generator
    """Choice of what to say and how."""

    def flip(self, chance: float) -> bool:
        """True with this chance."""
        return bool(self.rng.random() < chance)

    def shuffle(self, items: Any) -> list[Any]:
        """The items in random order."""
        listed = list(items)
        return [listed[i] for i in self.rng.permutation(len(listed))]

    def mask_ids(self, positions: tuple[int, ...]) -> tuple[str, ...]:
        """Of objects by position."""
        return tuple(self.facts.things[i].mask_id for i in positions)


def describe_one(telling: Telling, position: int, *, with_relation: bool = True) -> Query | None:
    """Find a description that picks out one thing.

    Args:
        telling: the scene.
        position: of the thing in `Scene.objects`.
        with_relation: may it refer to another thing?

    Returns:
        A description `select` answers with this thing alone, with as few conditions as possible
        or, sometimes, one more; None if none was found.
    """
    known = list_conditions(telling, position, with_relation=with_relation)
    found: list[Query] = []
    for level in _LEVELS:
        queries = [q for fields in level for q in _join(known, fields)]
        found += [q for q in queries if select(telling.facts, q) == (position,)]
        if found and not telling.flip(_MORE_THAN_NEEDED):
            break
    return telling.shuffle(found)[0] if found else None


def list_conditions(
    telling: Telling, position: int, *, with_relation: bool
) -> dict[str, list[Any]]:
    """All that is clearly true of a thing: values by field of `Query`."""
    facts, thing = telling.facts, telling.facts.things[position]
    return {
        "category": [thing.category],
        "color": [thing.color],
        "texture": [thing.texture],
        "size": [size for size in SIZES if facts.sizes[size][position] == YES],
        "places": _list_places(facts, position),
        "extreme": list(EXTREMES),
        "relation": _list_relations(telling, position) if with_relation else [],
    }


def invent_absent(telling: Telling) -> Query | None:
    """Find a description that fits the scene but nothing in it.

    Where there are things, one condition of a true description is exchanged, if possible for what
    another thing of the scene has; so the words are right and only the combination is wrong.
    """
    for position in telling.shuffle(range(telling.facts.num_objects))[:6]:
        for query in telling.shuffle(_list_wrong(telling, position)):
            if select(telling.facts, query) == ():
                return query
    query = Query(category=telling.shuffle(list_categories())[0], color=telling.shuffle(COLORS)[0])
    return query if select(telling.facts, query) == () else None


def _list_places(facts: SceneFacts, position: int) -> list[tuple[str, ...]]:
    holds = [place for place in PLACES if facts.places[place][position] == YES]
    corner = tuple(place for place in ("top", "bottom", "left", "right") if place in holds)
    return [corner] if corner in PLACE_WORDS else [(place,) for place in holds]


def _list_relations(telling: Telling, position: int) -> list[Relation]:
    """Relations to things that can be described without a further relation."""
    facts = telling.facts
    pairs = [
        (name, anchor)
        for name in RELATIONS
        for anchor in range(facts.num_objects)
        if facts.relations[name][position, anchor] == YES
    ]
    relations = []
    for name, anchor in telling.shuffle(pairs)[:_MAX_ANCHORS]:
        query = describe_one(telling, anchor, with_relation=False)
        if query is not None:
            relations.append(Relation(name=name, anchor=query))
    return relations


def _join(known: dict[str, list[Any]], fields: tuple[str, ...]) -> list[Query]:
    """Every combination of known values for these fields."""
    values = itertools.product(*(known[field] for field in fields))
    return [Query(**dict(zip(fields, chosen, strict=True))) for chosen in values]


def _list_wrong(telling: Telling, position: int) -> list[Query]:
    """True descriptions of a thing with one condition exchanged."""
    things = telling.facts.things
    thing = things[position]
    base = Query(category=thing.category, color=thing.color)
    colors = {t.color for t in things} or set(COLORS)
    categories = {t.category for t in things}
    wrong = [replace(base, color=c) for c in sorted(colors - {thing.color})]
    wrong += [replace(base, category=c) for c in sorted(categories - {thing.category})]
    wrong += [replace(base, texture=t) for t in TEXTURES if t != thing.texture]
    wrong += [replace(base, size=size) for size in SIZES]
    for relation in _list_relations(telling, position)[:1]:
        wrong += [replace(base, relation=replace(relation, name=name)) for name in RELATIONS]
    return [*wrong, replace(base, color=telling.shuffle(COLORS)[0])]
