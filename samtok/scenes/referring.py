"""Referring expressions: text for which the right masks are one, several or none."""

from __future__ import annotations

from typing import Final

from samtok.scenes.describing import Telling, describe_one, invent_absent
from samtok.scenes.facts import PLACES, RELATIONS, YES
from samtok.scenes.grounded_text import SceneText, TextWriter
from samtok.scenes.queries import Query, Relation, select
from samtok.scenes.wording import choose, name_query, number_word

_MAX_SINGLE, _MAX_SEVERAL = 4, 3
_SECOND_WORDING = 0.4
"""Share of single targets that get another expression."""

_ONE: Final = ("the {}", "{}", "the {}")
_SEVERAL: Final = ("all {}", "the {}", "every one of the {}", "all the {}", "the {number} {}")
_NONE: Final = ("the {}", "{}", "any {}")


def write_referring(telling: Telling) -> list[SceneText]:
    """Expressions for some of the things, for some groups, and for something that is not there."""
    texts = []
    for position in telling.shuffle(range(telling.facts.num_objects))[:_MAX_SINGLE]:
        for _ in range(1 + telling.flip(_SECOND_WORDING)):
            query = describe_one(telling, position)
            if query is not None:
                texts.append(_write(telling, query, (position,)))
    groups = find_groups(telling)
    for query, positions in telling.shuffle(groups.items())[:_MAX_SEVERAL]:
        texts.append(_write(telling, query, positions))
    absent = invent_absent(telling)
    if absent is not None:
        texts.append(_write(telling, absent, ()))
    return list({(text.text, text.mask_ids): text for text in texts}.values())


def find_groups(telling: Telling) -> dict[Query, tuple[int, ...]]:
    """Descriptions that pick out several things, a different set each."""
    facts = telling.facts
    objects = facts.things[: facts.num_objects]
    queries = [Query(color=o.color) for o in objects] + [
        Query(category=o.category) for o in objects
    ]
    queries += [Query(category=o.category, color=o.color) for o in objects]
    queries += [Query(texture=o.texture, category=o.category) for o in objects]
    queries += [Query(color=o.color, places=(place,)) for o in objects for place in PLACES]
    queries += [Query(category=o.category, places=(place,)) for o in objects for place in PLACES]
    for anchor in telling.shuffle(range(facts.num_objects))[:2]:
        described = describe_one(telling, anchor, with_relation=False)
        if described is not None:
            queries += [
                Query(
                    category=facts.things[other].category,
                    relation=Relation(name=name, anchor=described),
                )
                for name in RELATIONS
                for other in range(facts.num_objects)
                if facts.relations[name][other, anchor] == YES
            ]
    groups: dict[tuple[int, ...], Query] = {}
    for query in telling.shuffle(dict.fromkeys(queries)):
        found = select(facts, query)
        if found is not None and len(found) > 1:
            groups.setdefault(found, query)
    return {query: found for found, query in groups.items()}


def _write(telling: Telling, query: Query, positions: tuple[int, ...]) -> SceneText:
    rng = telling.rng
    several = len(positions) > 1
    name = name_query(query, rng, plural=several)
    pattern = choose(_SEVERAL if several else _ONE if positions else _NONE, rng)
    text = pattern.format(name, number=number_word(len(positions)))
    writer = TextWriter().point(text, telling.mask_ids(positions), "phrase")
    return writer.finish("referring")
