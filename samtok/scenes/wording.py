"""Words for descriptions: from a `Query` to English, with many ways to say the same."""

from __future__ import annotations

from typing import Final

import numpy as np

from samtok.scenes.queries import Query, Relation

COLOR_WORDS: Final = {
    "cyan": ("cyan", "turquoise"),
    "gray": ("gray", "grey"),
    "purple": ("purple", "violet"),
}
"""Colours with more than their own name."""

CATEGORY_WORDS: Final = {
    "circle": ("circle", "circle", "disc"),
    "ellipse": ("ellipse", "oval"),
    "dome": ("dome", "semicircle"),
    "crescent": ("crescent", "moon"),
    "cross": ("cross", "plus sign"),
    "L-shape": ("L-shape", "right angle"),
    "bar": ("bar", "thin line"),
    "hoop": ("hoop", "thin ring"),
}
"""Categories with more than their own name."""

TEXTURE_ADJECTIVES: Final = {
    "plain": ("plain", "solid"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
    "checkered": ("checkered", "chequered"),
    "shaded": ("shaded",),
}
TEXTURE_ENDINGS: Final = {
    "plain": ("without any pattern",),
    "striped": ("with stripes", "with a striped pattern"),
    "dotted": ("with dots", "with spots"),
    "checkered": ("with a checkered pattern", "with checks"),
    "shaded": ("with shading", "that fades from dark to light"),
}
SIZE_WORDS: Final = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
EXTREME_WORDS: Final = {
    "leftmost": ("leftmost", "far left"),
    "rightmost": ("rightmost", "far right"),
    "topmost": ("topmost", "highest"),
    "lowest": ("lowest", "bottommost"),
    "biggest": ("biggest", "largest"),
    "smallest": ("smallest", "tiniest"),
}
RELATION_WORDS: Final = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "higher up than"),
    "below": ("below", "further down than"),
    "inside": ("inside", "within", "enclosed by"),
    "front": ("in front of", "partly covering", "overlapping"),
    "part": ("of", "that is part of", "belonging to"),
    "bigger": ("bigger than", "larger than"),
}
PREDICATE_WORDS: Final = {
    "left": ("is left of", "is to the left of", "lies to the left of"),
    "right": ("is right of", "is to the right of", "lies to the right of"),
    "above": ("is above", "is higher up than"),
    "below": ("is below", "is further down than"),
    "inside": ("is inside", "lies within", "is enclosed by"),
    "front": ("is in front of", "partly covers", "overlaps"),
    "part": ("is part of", "belongs to"),
    "bigger": ("is bigger than", "is larger than"),
}
PLACE_WORDS: Final = {
    ("left",): ("on the left", "on the left side"),
    ("right",): ("on the right", "on the right side"),
    ("top",): ("at the top", "in the upper half"),
    ("bottom",): ("at the bottom", "in the lower half"),
    ("middle",): ("in the middle", "in the middle of the picture"),
    ("top", "left"): ("at the top left", "in the upper left"),
    ("top", "right"): ("at the top right", "in the upper right"),
    ("bottom", "left"): ("at the bottom left", "in the lower left"),
    ("bottom", "right"): ("at the bottom right", "in the lower right"),
}
"""Every combination of places that queries are made with."""

_ANYTHING: Final = ("thing", "object")
_IRREGULAR_PLURALS: Final = {"leaf": "leaves"}
# fmt: off
_NUMBERS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)
# fmt: on


def choose(options: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of them."""
    return options[int(rng.integers(len(options)))]


def number_word(number: int) -> str:
    """``three``; digits beyond twenty."""
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def pluralize(noun: str) -> str:
    """The plural of any category or of its other words."""
    if noun in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[noun]
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")


def add_article(phrase: str) -> str:
    """``a red star``, ``an orange star``, ``an L-shape``."""
    return ("an " if phrase[0] in "aeiou" or phrase.startswith("L-") else "a ") + phrase


def name_color(color: str, rng: np.random.Generator) -> str:
    """A word for a colour."""
    return choose(COLOR_WORDS.get(color, (color,)), rng)


def name_category(category: str | None, rng: np.random.Generator, *, plural: bool) -> str:
    """A noun for a category; ``thing`` and the like for None."""
    options = _ANYTHING if category is None else CATEGORY_WORDS.get(category, (category,))
    noun = choose(options, rng)
    return pluralize(noun) if plural else noun


def name_query(
    query: Query, rng: np.random.Generator, *, plural: bool = False, pronoun: str = "it"
) -> str:
    """Say a description, without an article.

    Args:
        query: what to say.
        rng: choice of words and of their order.
        plural: speak of several.
        pronoun: for the anchor of a relation that is a position, not a description.

    Returns:
        ``small red star with stripes left of the blue circle``.
    """
    before: list[str] = ["other"] if query.others_than else []
    after: list[str] = []
    if query.extreme is not None:
        before.append(choose(EXTREME_WORDS[query.extreme], rng))
    if query.size is not None:
        before.append(choose(SIZE_WORDS[query.size], rng))
    if query.texture is not None:
        _say_texture(query.texture, before, after, rng)
    if query.color is not None:
        is_last = not (after or query.places or query.relation)
        _say_color(query.color, before, after, rng, plural=plural, is_last=is_last)
    if query.places:
        after.append(choose(PLACE_WORDS[query.places], rng))
    if query.relation is not None:
        after.append(_say_relation(query.relation, rng, pronoun, follows=bool(after)))
    noun = name_category(query.category, rng, plural=plural)
    return " ".join([*before, noun, *after])


def _say_texture(
    texture: str, before: list[str], after: list[str], rng: np.random.Generator
) -> None:
    if rng.random() < 0.65:
        before.append(choose(TEXTURE_ADJECTIVES[texture], rng))
    else:
        after.append(choose(TEXTURE_ENDINGS[texture], rng))


def _say_color(
    color: str,
    before: list[str],
    after: list[str],
    rng: np.random.Generator,
    *,
    plural: bool,
    is_last: bool,
) -> None:
    word = name_color(color, rng)
    # "that is red with stripes" would leave open what has the stripes.
    if is_last and rng.random() < 0.25:
        after.append(f"that {'are' if plural else 'is'} {word}")
    else:
        before.append(word)


def _say_relation(
    relation: Relation, rng: np.random.Generator, pronoun: str, *, follows: bool
) -> str:
    options = RELATION_WORDS[relation.name]
    if follows and relation.name == "part":
        # "the door on the left of the house" would say where, not whose.
        options = tuple(words for words in options if words != "of")
    words = choose(options, rng)
    if isinstance(relation.anchor, int):
        return f"{words} {pronoun}"
    return f"{words} the {name_query(relation.anchor, rng)}"
