"""Every lesson is true of its scene: boxes are those of the masks that a text speaks of."""

import dataclasses
import re

import numpy as np
import pytest

from samtok.mllm.pretraining.lessons import format_box, write_lessons
from samtok.scenes import Scene, SceneObject, SceneText, Span, describe_scene, generate_scene

BOX = re.compile(r"\[(?:\d\d ){3}\d\d\]")


def make_scene():
    """A red square at the left and a blue star at the right of 200 x 100 pixels."""
    common = {"texture": "plain", "visible_share": 1.0, "is_thin": False, "part_of": None}
    square = SceneObject(
        mask_id="0", category="square", color="red", box=(20, 10, 39, 29), area=400,
        center=(29.5, 19.5), depth=0, **common,
    )  # fmt: skip
    star = SceneObject(
        mask_id="1", category="star", color="blue", box=(150, 40, 199, 99), area=900,
        center=(175, 70), depth=1, **common,
    )  # fmt: skip
    return Scene(
        scene_id="val-0-00000000",
        image=np.zeros((100, 200, 3), np.uint8),
        masks=np.zeros((2, 100, 200), bool),
        objects=(square, star),
        faint=(),
    )


SQUARE, STAR = "[10 10 20 30]", "[75 40 99 99]"


def lessons_of(*texts, number=30):
    return write_lessons(make_scene(), texts, np.random.default_rng(0), number)


def text_of(kind, text, *spans):
    made = tuple(
        Span(start=text.index(part), end=text.index(part) + len(part), mask_ids=ids, role=role)
        for part, ids, role in spans
    )
    ids = tuple(dict.fromkeys(i for span in made for i in span.mask_ids))
    return SceneText(kind=kind, text=text, mask_ids=ids, spans=made)


def answers(lessons, part):
    return [lesson.answer for lesson in lessons if part in lesson.question]


def test_a_box_is_percent_of_the_picture_with_two_digits():
    scene = make_scene()
    assert [format_box(scene, thing) for thing in scene.objects] == [SQUARE, STAR]


def test_an_expression_is_answered_by_the_boxes_of_its_targets_from_the_left():
    both = text_of("referring", "all things", ("all things", ("1", "0"), "phrase"))
    assert answers(lessons_of(both), "all things") == [f"{SQUARE} {STAR}"]


def test_an_expression_without_target_is_nowhere():
    assert answers(lessons_of(text_of("referring", "green moon")), "green moon") == ["Nowhere."]


def test_a_lesson_knows_whose_boxes_its_answer_has():
    scene = generate_scene(8, split="val")
    of_box = {format_box(scene, thing): thing.mask_id for thing in scene.objects}
    assert len(of_box) == len(scene.objects)
    kinds = set()
    for seed in range(20):
        for lesson in write_lessons(scene, describe_scene(scene), np.random.default_rng(seed), 20):
            boxes = BOX.findall(lesson.answer)
            assert [of_box[box] for box in boxes] == list(lesson.boxed)
            kinds.add((lesson.mask_ids is None, len(boxes) > 1))
    assert kinds == {(False, False), (False, True), (True, False), (True, True)}


def test_a_thing_is_named_by_its_box():
    named = {q: a for q, a, *_ in lessons_of() if q.startswith(("Name", "What is at"))}
    assert {a for q, a in named.items() if SQUARE in q} == {"plain red square"}
    assert {a for q, a in named.items() if STAR in q} == {"plain blue star"}


def test_a_relation_is_asked_between_two_boxes():
    text = text_of(
        "relation", "The square is left of the star.",
        ("The square", ("0",), "subject"), ("is left of", (), "predicate"),
        ("the star", ("1",), "object"),
    )  # fmt: skip
    asked = [(q, a) for q, a, *_ in lessons_of(text) if a == "is left of"]
    assert len(asked) == 1
    assert BOX.findall(asked[0][0]) == [SQUARE, STAR]


def test_of_an_empty_scene_there_is_something_to_say():
    empty = dataclasses.replace(make_scene(), objects=(), masks=np.zeros((0, 100, 200), bool))
    ((_, answer, *_),) = write_lessons(empty, (), np.random.default_rng(0), 5)
    assert answer == "Nothing."


def test_at_most_one_lesson_is_about_the_whole_picture():
    scene = generate_scene(8, split="val")
    texts = describe_scene(scene)
    captions = {text.text for text in texts if text.kind == "caption"}
    for seed in range(20):
        lessons = write_lessons(scene, texts, np.random.default_rng(seed), 6)
        wholes = [
            a for _, a, *_ in lessons if "\n" in a or BOX.sub("", a).replace(" ,", ",") in captions
        ]
        assert len(wholes) <= 1
        assert len(lessons) <= 6


def test_a_caption_with_boxes_keeps_its_words():
    text = text_of(
        "caption", "A picture of a square and a star.",
        ("a square", ("0",), "phrase"), ("a star", ("1",), "phrase"),
    )  # fmt: skip
    seen = set()
    for seed in range(40):
        for lesson in write_lessons(make_scene(), [text], np.random.default_rng(seed), 3):
            if "caption" in lesson.question or "picture" in lesson.question.lower():
                seen.add(lesson.answer)
    assert seen == {
        "A picture of a square and a star.",
        f"A picture of a square {SQUARE} and a star {STAR}.",
    }


@pytest.mark.parametrize("index", range(5))
def test_no_lesson_holds_mask_words(index):
    scene = generate_scene(index)
    lessons = write_lessons(scene, describe_scene(scene), np.random.default_rng(index), 50)
    assert lessons
    assert not any("<|mt_" in part for lesson in lessons for part in lesson[:2])
