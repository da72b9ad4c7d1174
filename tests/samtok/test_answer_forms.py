"""Answers read back from what a model wrote."""

import json

import pytest

from samtok.answer_forms import (
    REF_END,
    REF_START,
    GroundedPhrase,
    label_spans,
    normalize_phrase,
    read_answer_part,
    read_phrases,
    read_triplets,
    strip_masks,
)
from samtok.words import format_codes, parse

A, B = format_codes([(1, 2), (3, 4)])


def ref(phrase):
    return f"{REF_START}{phrase}{REF_END}"


def entry(subject="cup", words=A, **changes):
    return {
        "subject": {"mask_2d": words, "label": subject},
        "predicate": "on",
        "object": {"mask_2d": B, "label": "table"},
        **changes,
    }


def test_a_phrase_owns_the_masks_right_behind_it():
    text = f"{ref('two cups')}{A} {B} on {ref(' a table ')}, {A}."
    assert read_phrases(text) == [
        GroundedPhrase("two cups", ((1, 2), (3, 4))),
        GroundedPhrase("a table", ()),
    ]


def test_damaged_references_are_left_out():
    text = f"{REF_START}lost {ref('cup')}{A} and {REF_START}open {A}"
    assert read_phrases(text) == [GroundedPhrase("cup", ((1, 2),))]


def test_triplets_are_read_from_fenced_json():
    text = f"Here it is:\n```json\n{json.dumps([entry(), entry('pot', A + B)], indent=1)}\n```"
    assert read_triplets(text) == [
        ("cup", "on", "table", ((1, 2),), ((3, 4),)),
        ("pot", "on", "table", ((1, 2), (3, 4)), ((3, 4),)),
    ]


def test_whole_entries_of_a_broken_list_count():
    text = json.dumps([entry(), entry("pot")])
    assert [t.subject for t in read_triplets(text[:-5])] == ["cup"]


def test_masks_without_quotation_marks_are_read_as_the_published_models_write_them():
    text = json.dumps([entry()]).replace(f'"{A}"', A).replace(f'"{B}"', B)
    assert read_triplets(text) == [("cup", "on", "table", ((1, 2),), ((3, 4),))]


@pytest.mark.parametrize(
    "text",
    [
        "No target.",
        "",
        "[",
        "[" * 100_000,
        '[{"a":' * 50_000,
        json.dumps([entry(predicate=None)]),
        json.dumps([entry(object="table")]),
        json.dumps([entry(object={"label": "table"})]),
        json.dumps([entry(words=None)]),
        json.dumps({"triplets": "none"}),
    ],
)
def test_what_is_no_triplet_is_left_out(text):
    assert read_triplets(text) == []


def test_a_malformed_entry_does_not_hide_its_neighbours():
    text = json.dumps([entry(predicate=3), entry("pot")])
    assert [t.subject for t in read_triplets(text)] == ["pot"]


def test_reasoning_is_no_answer():
    assert read_answer_part(f"<think>maybe {A}</think><answer>{B}</answer>") == B
    assert read_answer_part(f"it is {A}") == f"it is {A}"


def test_plain_words_have_no_masks():
    assert strip_masks(f"A {ref('red cup')}{A} {B} on\na {ref('table')}{A}.") == (
        "A red cup on a table."
    )


def test_phrases_are_compared_without_articles_and_punctuation():
    assert normalize_phrase("A  red-ish, the Cup_top.") == "red ish cup top"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (
            f"{ref('two cups')}{A} {B} and {A}, {ref(' a hat ')}{B}",
            ["two cups"] * 2 + [None, "a hat"],
        ),
        (
            json.dumps([{"mask_2d": A, "label": "cup"}, {"mask_2d": B, "label": "hat"}]),
            ["cup", "hat"],
        ),
        (json.dumps([entry()]), ["cup", "table"]),
        (f'[{{"mask_2d": {A}{B}, "label": "cups"}}]', ["cups", "cups"]),
        (f'[{{"mask_2d": "{A}", "label": 7}}, {{"mask_2d": "{B}", "lab', [None, None]),
        (f'{{"note": "{A}", "label": "cup"}} {{{A}}}', [None, None]),
        ("{" + "[" * 100_000 + A + "}", [None]),
    ],
)
def test_masks_are_called_what_the_answer_calls_them(text, labels):
    assert label_spans(text, parse(text)) == labels
