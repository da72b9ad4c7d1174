"""Conversations about scenes without mask words: where and what things are, boxes as text.

A box is ``[12 34 56 78]``: left, top, right, bottom in percent of the picture, two digits each.
Regions are described in the wordings of the task that has masks in their place, so that fine-tuning
has new words to teach and no new manners.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from samtok.scenes import Scene, SceneText, Span
from samtok.scenes.scene import SceneObject
from samtok.scenes.wording import choose
from samtok.tasks import region_captioning
from samtok.tasks.answers import make_sentence
from samtok.tasks.templates import load_templates


class Lesson(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str
    mask_ids: tuple[str, ...] | None
    """The things that it is about, none where nothing fits; None where it is about no certain ones,
    as a caption is."""
    boxed: tuple[str, ...] = ()
    """The things whose boxes are in the answer, in their order."""


_LOCATE: Final = ("Where: {}?", "Find {}.", "Locate {}.", "Detect {}.", "Boxes of {}.")
_NAME: Final = ("What is at {}?", "Name {}.", "Name what is in {}.")
_DESCRIBE: Final = load_templates(region_captioning.NAME)["description"]
_CAPTION: Final = ("Describe the picture.", "What does the picture show?", "Write a caption.")
_GROUNDED: Final = ("Describe the picture with boxes.", "Write a caption with boxes.")
_LIST: Final = ("List everything with boxes.", "What is where?")
_AS_JSON: Final = " Write a line of JSON for each."
_JSON_SHARE: Final = 0.4
_RELATE: Final = ("How does {} stand to {}?", "Relate {} and {}.")
_NOWHERE: Final = "Nowhere."


def write_lessons(
    scene: Scene, texts: Sequence[SceneText], rng: np.random.Generator, num_lessons: int
) -> list[Lesson]:
    """Draw questions about a scene, with their answers.

    Args:
        scene: with or without objects.
        texts: what `samtok.scenes.describe_scene` says of it.
        rng: choice of lessons and of their wording.
        num_lessons: at most this many, at least 1.

    Returns:
        Lessons in random order, one of them a caption or a list of the whole picture.
    """
    boxes = {thing.mask_id: format_box(scene, thing) for thing in scene.objects}
    lessons = [lesson for text in texts for lesson in _WRITERS[text.kind](text, boxes, rng)]
    lessons += [_name(thing, boxes[thing.mask_id], rng) for thing in scene.objects]
    wholes = [lesson for text in texts for lesson in _write_whole(text, boxes, rng)]
    wholes.append(_list(scene, boxes, rng))
    drawn = [lessons[i] for i in rng.permutation(len(lessons))[: num_lessons - 1]]
    drawn += [wholes[i] for i in rng.permutation(len(wholes))[:1]]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def format_box(scene: Scene, thing: SceneObject) -> str:
    """The box of a thing as text."""
    edges = relative_box(scene, thing)
    return "[" + " ".join(f"{min(99, int(100 * edge)):02d}" for edge in edges) + "]"


def relative_box(scene: Scene, thing: SceneObject) -> tuple[float, float, float, float]:
    """The box of a thing, xyxy, as fractions of the picture."""
    height, width = scene.image.shape[:2]
    x0, y0, x1, y1 = thing.box
    return x0 / width, y0 / height, (x1 + 1) / width, (y1 + 1) / height


def _write_whole(
    text: SceneText, boxes: dict[str, str], rng: np.random.Generator
) -> Iterable[Lesson]:
    if text.kind == "caption":
        yield Lesson(choose(_CAPTION, rng), text.text, None)
        phrases = [span.mask_ids for span in text.spans if span.role == "phrase"]
        boxed = tuple(mask_id for ids in phrases for mask_id in _order(ids, boxes))
        yield Lesson(choose(_GROUNDED, rng), _put_boxes(text, boxes), None, boxed)


def _write_referring(
    text: SceneText, boxes: dict[str, str], rng: np.random.Generator
) -> Iterable[Lesson]:
    yield _locate(choose(_LOCATE, rng).format(text.text), text.mask_ids, boxes)


def _write_region(
    text: SceneText, boxes: dict[str, str], rng: np.random.Generator
) -> Iterable[Lesson]:
    question = choose(_DESCRIBE, rng).format(mask=boxes[text.mask_ids[0]])
    yield Lesson(question, make_sentence(text.text), text.mask_ids[:1])


def _write_relation(
    text: SceneText, boxes: dict[str, str], rng: np.random.Generator
) -> Iterable[Lesson]:
    by_role = {span.role: span for span in text.spans}
    subject, thing = by_role["subject"], by_role["object"]
    predicate = by_role["predicate"]
    if len(subject.mask_ids) == len(thing.mask_ids) == 1:
        pair = boxes[subject.mask_ids[0]], boxes[thing.mask_ids[0]]
        answer = text.text[predicate.start : predicate.end]
        yield Lesson(choose(_RELATE, rng).format(*pair), answer, None)


def _write_question(
    text: SceneText, boxes: dict[str, str], rng: np.random.Generator
) -> Iterable[Lesson]:
    question, answer = text.text.split("\n")
    yield Lesson(question, answer, None)


def _write_rounds(
    text: SceneText, boxes: dict[str, str], rng: np.random.Generator
) -> Iterable[Lesson]:
    """The first instruction; later ones lean on its answer."""
    first = next(span for span in text.spans if span.role == "instruction")
    yield _locate(text.text[first.start : first.end], first.mask_ids, boxes)


def _write_nothing(
    text: SceneText, boxes: dict[str, str], rng: np.random.Generator
) -> Iterable[Lesson]:
    return ()


_WRITERS: Final[
    dict[str, Callable[[SceneText, dict[str, str], np.random.Generator], Iterable[Lesson]]]
] = {
    "referring": _write_referring,
    "caption": _write_nothing,
    "relation": _write_relation,
    "region": _write_region,
    "rounds": _write_rounds,
    "question": _write_question,
}


def _name(thing: SceneObject, box: str, rng: np.random.Generator) -> Lesson:
    answer = f"{thing.texture} {thing.color} {thing.category}"
    return Lesson(choose(_NAME, rng).format(box), answer, (thing.mask_id,))


def _locate(question: str, mask_ids: tuple[str, ...], boxes: dict[str, str]) -> Lesson:
    return Lesson(question, _list_boxes(mask_ids, boxes), mask_ids, _order(mask_ids, boxes))


def _list(scene: Scene, boxes: dict[str, str], rng: np.random.Generator) -> Lesson:
    things = {thing.mask_id: thing for thing in scene.objects}
    order = _order(tuple(things), boxes)
    question = choose(_LIST, rng)
    if rng.random() < _JSON_SHARE:
        question += _AS_JSON
        lines = [json.dumps({"label": things[i].category, "box": boxes[i]}) for i in order]
    else:
        lines = [
            f"{boxes[i]} {things[i].texture} {things[i].color} {things[i].category}" for i in order
        ]
    return Lesson(question, "\n".join(lines) or "Nothing.", None, order)


def _order(mask_ids: Sequence[str], boxes: dict[str, str]) -> tuple[str, ...]:
    """Left to right."""
    return tuple(sorted(mask_ids, key=lambda mask_id: boxes[mask_id]))


def _list_boxes(mask_ids: Sequence[str], boxes: dict[str, str]) -> str:
    return " ".join(boxes[mask_id] for mask_id in _order(mask_ids, boxes)) or _NOWHERE


def _put_boxes(text: SceneText, boxes: dict[str, str]) -> str:
    """The text with every phrase followed by the boxes of its masks."""
    written, end = "", 0
    phrases: list[Span] = [span for span in text.spans if span.role == "phrase"]
    for span in phrases:
        written += text.text[end : span.end] + " " + _list_boxes(span.mask_ids, boxes)
        end = span.end
    return written + text.text[end:]
