"""The forms of answers, written out by hand."""

import json

import pytest

from samtok.tasks.answers import (
    answer_grounded,
    answer_json,
    answer_masks_only,
    answer_scene_graph,
    make_sentence,
    replace_mentions,
    strip_article,
)
from samtok.tasks.regions import in_reading_order
from samtok.words import parse


def test_masks_stand_left_to_right_then_top_to_bottom(regions):
    ordered = in_reading_order(["star", "cup", "bar", "lid", "cup", "moon"], regions)
    assert [region.mask_id for region in ordered] == ["moon", "lid", "cup", "bar", "star"]


def test_masks_only(regions, words):
    answer = answer_masks_only(["star", "moon"], regions)
    assert answer.text == words["moon"] + words["star"]
    assert answer.mask_ids == ("moon", "star")
    assert [span.status for span in parse(answer.text)] == ["well_formed"] * 2


@pytest.mark.parametrize("make", [answer_masks_only, lambda *a: answer_json("pink cup", *a)])
def test_nothing_is_exactly_no_target(make, regions):
    answer = make([], regions)
    assert (answer.text, answer.mask_ids) == ("No target.", ())


def test_json_is_a_fenced_list_of_masks_with_labels(regions, words):
    answer = answer_json('"old" thing', ["cup", "lid"], regions)
    assert answer.text.startswith("```json\n[")
    assert answer.text.endswith("]\n```")
    assert json.loads(answer.text.removeprefix("```json\n").removesuffix("\n```")) == [
        {"mask_2d": words["lid"], "label": '"old" thing'},
        {"mask_2d": words["cup"], "label": '"old" thing'},
    ]
    assert answer.mask_ids == ("lid", "cup")


def test_grounded_text_puts_masks_behind_phrases(text, regions, words):
    caption = text(
        "caption",
        "A cup with its lid and two bright things, somewhere.",
        ("A cup", "phrase", ["cup"]),
        ("its lid", "phrase", ["lid"]),
        ("two bright things", "phrase", ["star", "moon"]),
        ("somewhere", "phrase", []),
    )
    answer = answer_grounded(caption.text, caption.spans, regions)
    assert answer.text == (
        f"<|object_ref_start|>A cup<|object_ref_end|>{words['cup']} with "
        f"<|object_ref_start|>its lid<|object_ref_end|>{words['lid']} and "
        f"<|object_ref_start|>two bright things<|object_ref_end|>{words['moon']}{words['star']}, "
        "somewhere."
    )
    assert answer.mask_ids == ("cup", "lid", "moon", "star")


def test_scene_graph_is_ordered_by_subject_then_object(text, regions, words):
    def relation(subject, predicate, other, masks):
        return text(
            "relation",
            f"{subject} {predicate} {other}.",
            (subject, "subject", [masks[0]]),
            (predicate, "predicate", []),
            (other, "object", [masks[1]]),
        )

    answer = answer_scene_graph(
        [
            relation("The star", "is above", "a moon", ("star", "moon")),
            relation("The cup", "is below", "the star", ("cup", "star")),
            relation("The cup", "is under", "its lid", ("cup", "lid")),
        ],
        regions,
    )

    def end(mask, label):
        return {"mask_2d": words[mask], "label": label}

    assert json.loads(answer.text.removeprefix("```json\n").removesuffix("\n```")) == [
        {"subject": end("cup", "cup"), "predicate": "is under", "object": end("lid", "its lid")},
        {"subject": end("cup", "cup"), "predicate": "is below", "object": end("star", "star")},
        {
            "subject": end("star", "star"),
            "predicate": "is above",
            "object": end("moon", "crescent"),
        },
    ]
    assert answer.mask_ids == ("cup", "lid", "cup", "star", "star", "moon")


def test_mentions_become_masks_within_their_span_only(text, regions, words):
    rounds = text(
        "rounds",
        "Find the cup.\nNow what is above it?\nAnd left of that one?",
        ("Find the cup.", "instruction", ["cup"]),
        ("Now what is above it?", "instruction", ["lid"]),
        (" it", "mention", ["cup"]),
        ("And left of that one?", "instruction", ["moon"]),
        ("that one", "mention", ["lid"]),
    )
    first, second, _, third, _ = rounds.spans
    assert replace_mentions(rounds, first, regions) == "Find the cup."
    assert replace_mentions(rounds, second, regions) == f"Now what is above{words['cup']}?"
    assert replace_mentions(rounds, third, regions) == f"And left of {words['lid']}?"


@pytest.mark.parametrize(
    ("phrase", "stripped"),
    [
        ("The grey square", "grey square"),
        ("an orange star", "orange star"),
        ("all stars", "all stars"),
        ("theatre seats", "theatre seats"),
        ("the", "the"),
    ],
)
def test_articles_go(phrase, stripped):
    assert strip_article(phrase) == stripped


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a cup", "A cup."), ("Done.", "Done."), ("is it so?", "Is it so?"), ("", ".")],
)
def test_sentences(text, sentence):
    assert make_sentence(text) == sentence
