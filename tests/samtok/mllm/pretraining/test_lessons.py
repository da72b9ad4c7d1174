"""Every lesson is true of its scene: boxes are those of the masks that a text speaks of."""

import dataclasses
import json
import re

import numpy as np
import pytest

from samtok.mllm.pretraining.lessons import format_box, write_lessons
from samtok.mllm.tiny import train_tiny_tokenizer
from samtok.scenes import Scene, SceneObject, SceneText, Span, describe_scene, generate_scene
from samtok.tasks.templates import load_templates

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


def test_an_expression_without_target_is_asked_for_twice_and_found_nowhere():
    both = answers(lessons_of(text_of("referring", "green moon")), "green moon")
    assert len(both) == 2
    assert set(both) <= {"Nowhere.", "No target."}


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
    asked = [
        lesson.question
        for seed in range(10)
        for lesson in write_lessons(make_scene(), [text], np.random.default_rng(seed), 9)
        if lesson.answer == "is left of"
    ]
    assert asked
    assert all(BOX.findall(question) == [SQUARE, STAR] for question in asked)


def test_of_an_empty_scene_there_is_something_to_say():
    empty = dataclasses.replace(make_scene(), objects=(), masks=np.zeros((0, 100, 200), bool))
    ((_, answer, *_),) = write_lessons(empty, (), np.random.default_rng(0), 5)
    assert answer == "Nothing."


def test_at_most_one_lesson_is_about_the_whole_picture():
    scene = generate_scene(8, split="val")
    texts = describe_scene(scene)
    whole = ("What is where?", "List everything with boxes.", "Write a caption.")
    whole += ("Describe the picture.", "What does the picture show?")
    whole += load_templates("grounded_conversation")["caption"]
    whole += load_templates("scene_graph")["graph"]
    seen = set()
    for seed in range(40):
        lessons = write_lessons(scene, texts, np.random.default_rng(seed), 6)
        asked = [lesson.question for lesson in lessons if lesson.question in whole]
        assert len(lessons) == 6
        assert len(asked) == 1
        seen.update(asked)
    assert len(seen) > 10


def test_a_caption_with_boxes_keeps_its_words():
    text = text_of(
        "caption", "a picture of a square and a star",
        ("a square", ("0",), "phrase"), ("a star", ("1",), "phrase"),
    )  # fmt: skip
    seen = {
        lesson.answer
        for seed in range(40)
        for lesson in write_lessons(make_scene(), [text], np.random.default_rng(seed), 3)
        if "picture of" in lesson.answer
    }
    start, end = "<|object_ref_start|>", "<|object_ref_end|>"
    assert seen == {
        "a picture of a square and a star",
        f"A picture of {start}a square{end}{SQUARE} and {start}a star{end}{STAR}.",
    }


def test_a_triple_has_boxes_under_the_key_that_hub_models_have_for_them():
    text = text_of(
        "relation", "The square is left of the star.",
        ("The square", ("0",), "subject"), ("is left of", (), "predicate"),
        ("the star", ("1",), "object"),
    )  # fmt: skip
    seen = set()
    for seed in range(20):
        for lesson in write_lessons(make_scene(), [text], np.random.default_rng(seed), 9):
            if "json" in lesson.answer:
                (triple,) = json.loads(lesson.answer.strip("`").removeprefix("json"))
                assert triple == {
                    "subject": {"bbox_2d": SQUARE, "label": "square"},
                    "predicate": "is left of",
                    "object": {"bbox_2d": STAR, "label": "star"},
                }
                assert lesson.boxed == ("0", "1")
                seen.add(tuple(BOX.findall(lesson.question)))
    assert seen == {(), (SQUARE, STAR)}


def test_the_boxes_of_an_answer_are_its_opening_brackets():
    """What is pointed at is found by that token: no other of an answer may be it."""
    tokenizer = train_tiny_tokenizer()
    bracket = tokenizer.convert_tokens_to_ids("[")
    for index in range(20):
        scene = generate_scene(index)
        rng = np.random.default_rng(index)
        for lesson in write_lessons(scene, describe_scene(scene), rng, 50):
            assert tokenizer(lesson.answer).input_ids.count(bracket) == len(lesson.boxed)


@pytest.mark.parametrize("index", range(5))
def test_no_lesson_holds_mask_words(index):
    scene = generate_scene(index)
    lessons = write_lessons(scene, describe_scene(scene), np.random.default_rng(index), 50)
    assert lessons
    assert not any("<|mt_" in part for lesson in lessons for part in lesson[:2])
