"""Conversations about scenes without mask words: where and what things are, boxes as text.

A box is ``[12 34 56 78]``: left, top, right, bottom in percent of the picture, two digits each.
Many lessons are the dialogues of `samtok.tasks` with boxes in place of masks, so that
fine-tuning has new words to teach and no new manners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final, NamedTuple

import numpy as np

from samtok.scenes import Scene, SceneText
from samtok.scenes.scene import SceneObject
from samtok.scenes.wording import choose
from samtok.tasks import (
    DialogueOptions,
    grounded_conversation,
    referring_segmentation,
    region_captioning,
    region_vqa,
    scene_graph,
)
from samtok.tasks.answers import find_span
from samtok.tasks.draft import Draft
from samtok.tasks.regions import Regions, in_reading_order, list_scene_regions


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
_CAPTION: Final = ("Describe the picture.", "What does the picture show?", "Write a caption.")
_LIST: Final = ("List everything with boxes.", "What is where?")
_RELATE: Final = ("How does {} stand to {}?", "Relate {} and {}.")
_NOWHERE: Final = "Nowhere."
_OPTIONS: Final = DialogueOptions()


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
        Lessons in random order, one of them about the whole picture: a caption, list or graph.
        Of expressions that fit nothing there may be two lessons: scenes have few of them, and a
        model that hears less of them finds what is not there.
    """
    boxes = {thing.mask_id: format_box(scene, thing) for thing in scene.objects}
    regions = list_scene_regions(scene, boxes)
    told = [text for text in texts if text.kind in _WRITERS]
    told += [text for text in told if text.kind == "referring" and not text.mask_ids]
    lessons = [_WRITERS[text.kind](text, regions, rng) for text in told]
    lessons += [_name(thing, boxes[thing.mask_id], rng) for thing in scene.objects]
    wholes = [_list(scene, regions, rng), *_write_wholes(texts, regions, rng)]
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


def _write_wholes(
    texts: Sequence[SceneText], regions: Regions, rng: np.random.Generator
) -> Iterable[Lesson]:
    relations = [text for text in texts if text.kind == "relation"]
    for text in texts:
        if text.kind == "caption":
            yield Lesson(choose(_CAPTION, rng), text.text, None)
            draft = grounded_conversation.write([text], regions, _fork(rng), _OPTIONS)
            yield _with_boxes(draft, None)
    if relations:
        yield _with_boxes(scene_graph.write_graph(relations, regions, _fork(rng)), None)


def _write_referring(text: SceneText, regions: Regions, rng: np.random.Generator) -> Lesson:
    chance = rng.random()
    if chance < 0.3 and len(text.mask_ids) == 1:
        draft = region_captioning.write([text], regions, _fork(rng), _OPTIONS)
    elif chance < 0.6:
        draft = referring_segmentation.write([text], regions, _fork(rng), _OPTIONS)
    else:
        question = choose(_LOCATE, rng).format(text.text)
        return _answer_with_boxes(question, text.mask_ids, regions)
    return _with_boxes(draft, text.mask_ids)


def _write_region(text: SceneText, regions: Regions, rng: np.random.Generator) -> Lesson:
    """Of the thing alone, or with the boxes of what is mentioned beside it."""
    mentions = any(span.role == "mention" for span in text.spans)
    task = grounded_conversation if mentions and rng.random() < 0.3 else region_captioning
    draft = task.write([text], regions, _fork(rng), _OPTIONS)
    return _with_boxes(draft, find_span(text, "phrase").mask_ids)


def _write_relation(text: SceneText, regions: Regions, rng: np.random.Generator) -> Lesson:
    if rng.random() < 0.5:
        return _with_boxes(scene_graph.write_pair(text, regions, _fork(rng)), None)
    subject, other = scene_graph.join_ends(text, regions)
    predicate = find_span(text, "predicate")
    answer = text.text[predicate.start : predicate.end]
    return Lesson(choose(_RELATE, rng).format(subject, other), answer, None)


def _write_question(text: SceneText, regions: Regions, rng: np.random.Generator) -> Lesson:
    """As it stands, or with boxes in place of things."""
    if rng.random() < 0.5:
        return _with_boxes(region_vqa.write([text], regions, _fork(rng), _OPTIONS), None)
    question, answer = text.text.split("\n")
    return Lesson(question, answer, None)


def _write_rounds(text: SceneText, regions: Regions, rng: np.random.Generator) -> Lesson:
    """The first instruction; later ones lean on its answer."""
    first = find_span(text, "instruction")
    question = text.text[first.start : first.end]
    return _answer_with_boxes(question, first.mask_ids, regions)


_WRITERS: Final[dict[str, Callable[[SceneText, Regions, np.random.Generator], Lesson]]] = {
    "referring": _write_referring,
    "relation": _write_relation,
    "region": _write_region,
    "rounds": _write_rounds,
    "question": _write_question,
}


def _name(thing: SceneObject, box: str, rng: np.random.Generator) -> Lesson:
    answer = f"{thing.texture} {thing.color} {thing.category}"
    return Lesson(choose(_NAME, rng).format(box), answer, (thing.mask_id,))


def _answer_with_boxes(question: str, mask_ids: tuple[str, ...], regions: Regions) -> Lesson:
    ordered = in_reading_order(mask_ids, regions)
    answer = " ".join(region.words for region in ordered) or _NOWHERE
    return Lesson(question, answer, mask_ids, tuple(region.mask_id for region in ordered))


def _list(scene: Scene, regions: Regions, rng: np.random.Generator) -> Lesson:
    things = {thing.mask_id: thing for thing in scene.objects}
    order = [region.mask_id for region in in_reading_order(things, regions)]
    lines = [
        f"{regions[i].words} {things[i].texture} {things[i].color} {things[i].category}"
        for i in order
    ]
    return Lesson(choose(_LIST, rng), "\n".join(lines) or "Nothing.", None, tuple(order))


def _with_boxes(draft: Draft, mask_ids: tuple[str, ...] | None) -> Lesson:
    """A dialogue whose regions are boxes, under the hub models' key for them."""
    ((question, answer),) = draft.rounds
    said = answer.text.replace('"mask_2d"', '"bbox_2d"')
    return Lesson(question, said, mask_ids, answer.mask_ids)


def _fork(rng: np.random.Generator) -> Random:
    return Random(int(rng.integers(2**32)))
