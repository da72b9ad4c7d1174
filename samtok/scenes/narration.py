"""Captions with grounded phrases, statements of relations, and descriptions of single regions."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from samtok.scenes.describing import Telling, describe_one, list_conditions
from samtok.scenes.facts import RELATIONS, YES
from samtok.scenes.grounded_text import SceneText, TextWriter
from samtok.scenes.queries import Query, select
from samtok.scenes.wording import (
    PREDICATE_WORDS,
    RELATION_WORDS,
    add_article,
    choose,
    name_query,
    number_word,
)

_TELLING_MOST_FIRST: Final = (
    ("part",),
    ("inside",),
    ("front",),
    ("left", "right", "above", "below"),
)
_MAX_GROUPS, _MAX_RELATIONS, _MAX_REGIONS = 6, 4, 3
_OPENINGS: Final = (
    "the picture shows ",
    "this image contains ",
    "you can see ",
    "in this picture we find ",
    "a scene with ",
    "",
)
_EMPTY: Final = (
    "the picture shows nothing but a background.",
    "there is nothing in this image.",
    "an empty background without any objects.",
    "no objects can be seen here.",
)
_HIDDEN: Final = (", partly hidden by ", ", partly covered by ", ", behind ")


def write_caption(telling: Telling) -> list[SceneText]:
    """A caption that names groups of like things, and perhaps how two of them stand.

    Nothing is written where only faint things could be named.
    """
    groups = _group_likes(telling)[:_MAX_GROUPS]
    if not groups:
        if telling.facts.things:
            return []
        return [TextWriter().write(choose(_EMPTY, telling.rng)).finish("caption")]
    writer = TextWriter().write(choose(_OPENINGS, telling.rng))
    for count, (query, positions) in enumerate(groups):
        if count:
            writer.write(" and " if count == len(groups) - 1 else ", ")
        _point_group(telling, writer, query, positions)
    writer.write(".")
    named = {i for _, positions in groups for i in positions}
    for subject, name, anchor in _list_relations(telling):
        if subject in named and anchor in named:
            _add_statement(telling, writer, subject, name, anchor)
            break
    return [writer.finish("caption")]


def write_relations(telling: Telling) -> list[SceneText]:
    """Statements such as ``the red star is left of the blue circle``.

    What is stated is in the picture, not in the draw: of each thing, from the left, the relation
    that tells most, to the nearest thing that it has it to, always in the same words. So whoever
    sees the scene can know the triplets of its graph.
    """
    objects = telling.facts.things[: telling.facts.num_objects]
    texts: list[SceneText] = []
    for subject in sorted(range(len(objects)), key=lambda i: objects[i].box):
        found = _find_most_telling(telling, subject)
        described = found and _describe_pair(telling, subject, found[1])
        if not found or not described:
            continue
        name, anchor = found
        writer = TextWriter()
        writer.point(described[0], telling.mask_ids((subject,)), "subject").write(" ")
        writer.point(PREDICATE_WORDS[name][0], (), "predicate").write(" ")
        writer.point(described[1], telling.mask_ids((anchor,)), "object").write(".")
        texts.append(writer.finish("relation"))
    return texts[:_MAX_RELATIONS]


def write_regions(telling: Telling) -> list[SceneText]:
    """Full descriptions of some things: all that is known, and what stands beside or before."""
    order = telling.shuffle(range(telling.facts.num_objects))
    return [_write_region(telling, position) for position in order[:_MAX_REGIONS]]


def _write_region(telling: Telling, position: int) -> SceneText:
    facts, rng = telling.facts, telling.rng
    known = list_conditions(telling, position, with_relation=False)
    query = Query(
        category=known["category"][0],
        color=known["color"][0],
        texture=known["texture"][0],
        size=next(iter(known["size"]), None),
        places=next(iter(known["places"]), ()),
    )
    phrase = add_article(name_query(query, rng))
    writer = TextWriter().point(phrase, telling.mask_ids((position,)), "phrase")
    hiding = [i for i in range(facts.num_objects) if facts.relations["front"][i, position] == YES]
    beside = [
        (name, i)
        for name in ("left", "right", "above", "below", "inside", "part")
        for i in range(facts.num_objects)
        if facts.relations[name][position, i] == YES
    ]
    mentions = [(choose(_HIDDEN, rng), i) for i in telling.shuffle(hiding)[:1]]
    mentions += [
        (f", {choose(RELATION_WORDS[name], rng)} ", i) for name, i in telling.shuffle(beside)[:1]
    ]
    for words, other in mentions:
        described = describe_one(telling, other, with_relation=False)
        if described is not None:
            words = ", part of " if words == ", of " else words
            writer.write(words)
            writer.point(f"the {name_query(described, rng)}", telling.mask_ids((other,)), "mention")
    return writer.finish("region")


def _group_likes(telling: Telling) -> list[tuple[Query, tuple[int, ...]]]:
    """Things of one category and colour together, in random order, as far as they are clear."""
    objects = telling.facts.things[: telling.facts.num_objects]
    queries = dict.fromkeys(Query(category=o.category, color=o.color) for o in objects)
    found = [(query, select(telling.facts, query)) for query in telling.shuffle(queries)]
    return [(query, positions) for query, positions in found if positions]


def _point_group(
    telling: Telling, writer: TextWriter, query: Query, positions: tuple[int, ...]
) -> None:
    """``a small red star with stripes`` or ``two red stars``."""
    if len(positions) == 1:
        known = list_conditions(telling, positions[0], with_relation=False)
        extra: dict[str, Any] = {"category": query.category, "color": query.color}
        for field, chance in (("texture", 0.6), ("size", 0.6), ("places", 0.4)):
            if known[field] and telling.flip(chance):
                extra[field] = known[field][0]
        text = add_article(name_query(Query(**extra), telling.rng))
    else:
        text = f"{number_word(len(positions))} {name_query(query, telling.rng, plural=True)}"
    writer.point(text, telling.mask_ids(positions), "phrase")


def _find_most_telling(telling: Telling, subject: int) -> tuple[str, int] | None:
    """The relation of a thing that tells most, and to which; None where it has none."""
    facts = telling.facts
    distances = np.linalg.norm(facts.centers - facts.centers[subject], axis=1)
    for names in _TELLING_MOST_FIRST:
        found = [
            (distances[anchor], name, int(anchor))
            for name in names
            for anchor in np.flatnonzero(facts.relations[name][subject, : facts.num_objects] == YES)
        ]
        if found:
            _, name, anchor = min(found)
            return name, anchor
    return None


def _list_relations(telling: Telling) -> list[tuple[int, str, int]]:
    """Relations that hold, (subject, name, anchor), the names taking turns."""
    num_objects = telling.facts.num_objects
    ranked = []
    for name in RELATIONS:
        table = telling.facts.relations[name][:num_objects, :num_objects]
        pairs = telling.shuffle(
            zip(*(side.tolist() for side in (table == YES).nonzero()), strict=True)
        )
        ranked += [(turn, subject, name, anchor) for turn, (subject, anchor) in enumerate(pairs)]
    shuffled = telling.shuffle(ranked)
    return [entry[1:] for entry in sorted(shuffled, key=lambda entry: entry[0])]


def _describe_pair(telling: Telling, subject: int, anchor: int) -> tuple[str, str] | None:
    """Both described without relation, or None."""
    names = []
    for position in (subject, anchor):
        query = describe_one(telling, position, with_relation=False)
        if query is None:
            return None
        names.append(f"the {name_query(query, telling.rng)}")
    return names[0], names[1]


def _add_statement(
    telling: Telling, writer: TextWriter, subject: int, name: str, anchor: int
) -> None:
    described = _describe_pair(telling, subject, anchor)
    if described is not None:
        writer.write(" ").point(described[0], telling.mask_ids((subject,)), "phrase")
        writer.write(f" {choose(PREDICATE_WORDS[name], telling.rng)} ")
        writer.point(described[1], telling.mask_ids((anchor,)), "phrase").write(".")
