"""Conversations about a scene: instructions that build on each other, questions with answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from samtok.scenes.describing import Telling, describe_one, invent_absent
from samtok.scenes.facts import RELATIONS, YES
from samtok.scenes.grounded_text import SceneText, TextWriter
from samtok.scenes.queries import Query, Relation, select
from samtok.scenes.wording import (
    TEXTURE_ADJECTIVES,
    add_article,
    choose,
    name_category,
    name_color,
    name_query,
    number_word,
)

_MAX_ROUNDS, _MAX_CONVERSATIONS, _MAX_QUESTIONS = 4, 2, 5
_BACK_TO_FIRST = 0.3
"""Share of later rounds that speak of the first round's answer, not of the last one's."""

_FIRST: Final = ("segment the {}.", "find the {}.", "please mark the {}.", "show me the {}.")
_NEXT: Final = (
    "now segment the {}.",
    "next, mark the {}.",
    "and the {}?",
    "then show me the {}.",
    "what about the {}?",
)
_NEXT_SEVERAL: Final = ("now segment all {}.", "then mark the {}.", "and the {}?")
_COUNT: Final = ("how many {} are there?", "count the {}.", "what is the number of {}?")
_COLOR: Final = ("what color is the {}?", "which colour does the {} have?")
_PATTERN: Final = ("what pattern does the {} have?", "is the {} plain, or what is its pattern?")
_WHAT: Final = ("what is the {}?", "what kind of object is the {}?")
_EXISTS: Final = ("is there {} in the picture?", "can you see {}?", "does the image show {}?")
_COMPARE: Final = ("which is bigger, {} or {}?", "of {} and {}, which is larger?")


def write_rounds(telling: Telling) -> list[SceneText]:
    """Conversations of two to four instructions, each after the first leaning on an earlier one."""
    texts = []
    for position in telling.shuffle(range(telling.facts.num_objects))[:_MAX_CONVERSATIONS]:
        opening = describe_one(telling, position)
        if opening is not None:
            text = _write_conversation(telling, opening, position)
            if text is not None:
                texts.append(text)
    return texts


def write_questions(telling: Telling) -> list[SceneText]:
    """Questions of several kinds with their answers and the masks these rest on."""
    asks: list[Callable[[Telling], SceneText | None]] = [
        _ask_count,
        _ask_color,
        _ask_pattern,
        _ask_what,
        _ask_existence,
        _ask_absent,
        _ask_bigger,
    ]
    answered = [ask(telling) for ask in telling.shuffle(asks)]
    return [text for text in answered if text is not None][:_MAX_QUESTIONS]


def _write_conversation(telling: Telling, opening: Query, position: int) -> SceneText | None:
    writer = TextWriter()
    pattern = choose(_FIRST, telling.rng)
    writer.point(
        pattern.format(name_query(opening, telling.rng)),
        telling.mask_ids((position,)),
        "instruction",
    )
    answers: list[tuple[int, ...]] = [(position,)]
    for _ in range(int(telling.rng.integers(1, _MAX_ROUNDS))):
        single = [i for i, answer in enumerate(answers) if len(answer) == 1]
        back = single[0] if telling.flip(_BACK_TO_FIRST) else single[-1]
        answer = _add_round(telling, writer, answers, back)
        if answer is None:
            break
        answers.append(answer)
    return writer.finish("rounds") if len(answers) > 1 else None


def _add_round(
    telling: Telling, writer: TextWriter, answers: list[tuple[int, ...]], back: int
) -> tuple[int, ...] | None:
    """Ask for something by way of the answer of round `back`; returns the masks asked for."""
    (anchor,) = answers[back]
    given = set(answers)
    follow_ups = [
        (query, found)
        for query in telling.shuffle(_list_follow_ups(telling, anchor))
        if (found := select(telling.facts, query)) and found not in given
    ]
    if not follow_ups:
        return None
    query, found = follow_ups[0]
    several = len(found) > 1
    last = back == len(answers) - 1
    pronoun = "it" if last else "the first one" if back == 0 else f"answer {number_word(back + 1)}"
    name = name_query(query, telling.rng, plural=several, pronoun=pronoun)
    if query.others_than:
        name = f"{name} besides {pronoun}"
    line = choose(_NEXT_SEVERAL if several else _NEXT, telling.rng).format(name)
    writer.write("\n")
    start = len(writer)
    head, pointer, tail = line.rpartition(pronoun)
    writer.write(head).point(pointer, telling.mask_ids((anchor,)), "mention").write(tail)
    writer.enclose(start, telling.mask_ids(found), "instruction")
    return found


def _list_follow_ups(telling: Telling, anchor: int) -> list[Query]:
    """What can be asked for by way of one thing: its neighbours, parts, whole, and its likes."""
    facts = telling.facts
    thing = facts.things[anchor]
    alike = (Query(color=thing.color), Query(category=thing.category))
    queries = [replace(query, others_than=(anchor,)) for query in alike]
    for name in RELATIONS:
        relation = Relation(name=name, anchor=anchor)
        for other in range(facts.num_objects):
            if facts.relations[name][other, anchor] == YES:
                neighbour = facts.things[other]
                queries += [
                    Query(category=neighbour.category, relation=relation),
                    Query(color=neighbour.color, relation=relation),
                    Query(category=neighbour.category, color=neighbour.color, relation=relation),
                ]
    return list(dict.fromkeys(queries))


def _write_question(
    telling: Telling, question: str, answer: str, positions: tuple[int, ...]
) -> SceneText:
    writer = TextWriter().point(question, (), "question").write("\n")
    return writer.point(answer, telling.mask_ids(positions), "answer").finish("question")


def _write_question_about(
    telling: Telling, pattern: str, name: str, answer: str, position: int
) -> SceneText:
    """The question mentions the thing that the answer is about."""
    head, _, tail = pattern.partition("the {}")
    mask_ids = telling.mask_ids((position,))
    writer = TextWriter().write(head).point(f"the {name}", mask_ids, "mention").write(tail)
    writer.enclose(0, (), "question").write("\n")
    return writer.point(answer, mask_ids, "answer").finish("question")


def _pick_described(telling: Telling, hidden_field: str) -> tuple[int, str] | None:
    """A thing and a description of it that does not give one of its properties away."""
    for position in telling.shuffle(range(telling.facts.num_objects))[:4]:
        for _ in range(3):
            query = describe_one(telling, position)
            if query is not None and getattr(query, hidden_field) is None:
                return position, name_query(query, telling.rng)
    return None


def _ask_count(telling: Telling) -> SceneText | None:
    things = telling.facts.things[: telling.facts.num_objects]
    queries = [Query(category=t.category) for t in things] + [Query(color=t.color) for t in things]
    queries += [Query(category=t.category, color=t.color) for t in things]
    for query in telling.shuffle(dict.fromkeys(queries))[:5]:
        found = select(telling.facts, query)
        if found is not None:
            name = name_query(query, telling.rng, plural=True)
            question = choose(_COUNT, telling.rng).format(name)
            return _write_question(telling, question, f"{number_word(len(found))}.", found)
    return None


def _ask_color(telling: Telling) -> SceneText | None:
    picked = _pick_described(telling, "color")
    if picked is None:
        return None
    position, name = picked
    answer = f"{name_color(telling.facts.things[position].color, telling.rng)}."
    return _write_question_about(telling, choose(_COLOR, telling.rng), name, answer, position)


def _ask_pattern(telling: Telling) -> SceneText | None:
    picked = _pick_described(telling, "texture")
    if picked is None:
        return None
    position, name = picked
    words = TEXTURE_ADJECTIVES[telling.facts.things[position].texture]
    pattern = choose(_PATTERN, telling.rng)
    answer = f"it is {choose(words, telling.rng)}."
    return _write_question_about(telling, pattern, name, answer, position)


def _ask_what(telling: Telling) -> SceneText | None:
    picked = _pick_described(telling, "category")
    if picked is None:
        return None
    position, name = picked
    noun = name_category(telling.facts.things[position].category, telling.rng, plural=False)
    pattern, answer = choose(_WHAT, telling.rng), f"{add_article(noun)}."
    return _write_question_about(telling, pattern, name, answer, position)


def _ask_existence(telling: Telling) -> SceneText | None:
    for position in telling.shuffle(range(telling.facts.num_objects))[:3]:
        query = describe_one(telling, position)
        if query is not None and query.extreme is None:
            name = add_article(name_query(query, telling.rng))
            question = choose(_EXISTS, telling.rng).format(name)
            return _write_question(telling, question, "yes.", (position,))
    return None


def _ask_absent(telling: Telling) -> SceneText | None:
    query = invent_absent(telling)
    if query is None:
        return None
    name = add_article(name_query(query, telling.rng))
    return _write_question(telling, choose(_EXISTS, telling.rng).format(name), "no.", ())


def _ask_bigger(telling: Telling) -> SceneText | None:
    facts = telling.facts
    table = facts.relations["bigger"][: facts.num_objects, : facts.num_objects]
    pairs = list(zip(*(side.tolist() for side in (table == YES).nonzero()), strict=True))
    for pair in telling.shuffle(pairs)[:5]:
        queries = [describe_one(telling, position, with_relation=False) for position in pair]
        if all(q is not None and not q.size and not q.extreme for q in queries):
            names = [f"the {name_query(q, telling.rng)}" for q in queries if q is not None]
            question = choose(_COMPARE, telling.rng).format(*telling.shuffle(names))
            return _write_question(telling, question, f"{names[0]}.", (pair[0],))
    return None
