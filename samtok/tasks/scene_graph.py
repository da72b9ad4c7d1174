"""Scene graph parsing: relations between things as JSON, each thing with its mask.

Of the whole image, or of two things that the prompt names by their masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from samtok.scenes.grounded_text import SceneText
from samtok.tasks.answers import answer_scene_graph, find_span
from samtok.tasks.draft import DialogueOptions, Draft
from samtok.tasks.regions import Regions, join_words
from samtok.tasks.templates import fill_template

NAME = "scene_graph"

_PAIR_SHARE = 0.4


def group_texts(texts: Mapping[int, SceneText]) -> list[tuple[int, ...]]:
    """All relations of the image together."""
    relations = tuple(i for i, text in texts.items() if text.kind == "relation")
    return [relations] if relations else []


def write(
    texts: Sequence[SceneText], regions: Regions, rng: Random, options: DialogueOptions
) -> Draft:
    """Ask for all relations, or for that of a pair."""
    if rng.random() < _PAIR_SHARE:
        return write_pair(rng.choice(texts), regions, rng)
    return write_graph(texts, regions, rng)


def write_graph(relations: Sequence[SceneText], regions: Regions, rng: Random) -> Draft:
    """Ask for all relations."""
    prompt = fill_template(NAME, "graph", rng)
    return Draft.of(prompt, answer_scene_graph(relations, regions))


def write_pair(relation: SceneText, regions: Regions, rng: Random) -> Draft:
    """Ask for the relation of two things."""
    subject, other = join_ends(relation, regions)
    prompt = fill_template(NAME, "pair", rng, subject=subject, object=other)
    return Draft.of(prompt, answer_scene_graph([relation], regions))


def join_ends(relation: SceneText, regions: Regions) -> tuple[str, str]:
    """The spans of subject and object."""
    subject, other = (find_span(relation, role).mask_ids for role in ("subject", "object"))
    return join_words(subject, regions), join_words(other, regions)
