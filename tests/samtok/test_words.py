"""Mask words: what is written, what is read back, and where reading differs from the published."""

import gc
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samtok.words import (
    MASK_END,
    MASK_START,
    MISSING_CODE,
    format_codes,
    list_mask_words,
    parse,
    split_think_answer,
)

CASES = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "parity" / "words.json").read_text(encoding="utf-8")
)

PAIRED_ACROSS_SPANS = "the published reader pairs all codes of the text; a span is ours alone"
READ_DIFFERENTLY = {
    "three_codes_no_end": ([[7, 8]], "published repair needs the end; the first two codes serve"),
    "swapped": ([[20, 10]], "both codes are there, in the wrong order"),
    "negative": ([[4, -1]], "a malformed second word leaves a readable first"),
    "one_code_and_three_codes_even_total": ([[2, -1], [1, 1]], PAIRED_ACROSS_SPANS),
    "two_single_codes_even_total": ([[2, -1], [3, -1]], PAIRED_ACROSS_SPANS),
    "no_end_then_good": ([[2, -1], [1, 1]], PAIRED_ACROSS_SPANS),
    "pair_no_end_then_single": ([[2, 2], [4, -1]], PAIRED_ACROSS_SPANS),
    "space_between_codes_three": ([[4, 5]], "white space does not part codes"),
    "nested": ([[4, -1], [5, 5]], PAIRED_ACROSS_SPANS),
}

S, E = MASK_START, MASK_END


def word(number):
    return f"<|mt_{number:04d}|>"


def read(text):
    """The only span of a text, as (codes, status, set of defects)."""
    (span,) = parse(text)
    return span.codes, span.status, set(span.defects)


# --- writing -------------------------------------------------------------------------------------


def test_codes_are_written_with_the_second_book_after_the_first():
    # 91 + 256 = 347.
    assert format_codes([(11, 91)]) == ["<|mt_start|><|mt_0011|><|mt_0347|><|mt_end|>"]


def test_a_missing_second_code_is_left_out():
    assert format_codes([(11, MISSING_CODE)]) == ["<|mt_start|><|mt_0011|><|mt_end|>"]


@pytest.mark.parametrize(
    "codes",
    [
        np.array([[0, 255], [3, -1]], dtype=np.int16),
        torch.tensor([[0, 255], [3, -1]]),
        ((0, 255), (3, -1)),
    ],
)
def test_arrays_tensors_and_tuples_are_written_alike(codes):
    assert format_codes(codes) == [f"{S}{word(0)}{word(511)}{E}", f"{S}{word(3)}{E}"]


@pytest.mark.parametrize("codes", [[], np.zeros((0, 2), dtype=np.int64)])
def test_no_codes_give_no_words(codes):
    assert format_codes(codes) == []


@pytest.mark.parametrize(
    ("codes", "named"),
    [
        ([(0, 0), (256, 0)], ("256", "row 1")),
        ([(0, 256)], ("256", "row 0")),
        ([(-1, 0)], ("-1", "row 0")),
        ([(0, -2)], ("-2", "row 0")),
        ([(0, 1, 2)], ("row 0",)),
        ([5], ("5", "row 0")),
    ],
)
def test_unwritable_codes_are_refused_by_value_and_row(codes, named):
    with pytest.raises(ValueError, match="must be") as caught:
        format_codes(codes)
    assert all(text in str(caught.value) for text in named)


def test_fractions_are_not_codes():
    with pytest.raises(TypeError):
        format_codes(np.array([[1.5, 2.0]]))


def test_the_vocabulary_has_514_words_and_holds_every_written_word():
    words = list_mask_words()
    assert len(words) == len(set(words)) == 514
    assert words[0] == "<|mt_start|>"
    assert words[1] == "<|mt_end|>"
    assert words[2] == "<|mt_0000|>"
    assert words[-1] == "<|mt_0511|>"


# --- reading -------------------------------------------------------------------------------------


def test_a_well_formed_span_is_found_at_its_place():
    text = f"the dog {S}{word(44)}{word(442)}{E}."
    (span,) = parse(text)
    assert (span.codes, span.status, span.defects) == ((44, 186), "well_formed", ())
    assert text[span.start : span.end] == f"{S}{word(44)}{word(442)}{E}"


@pytest.mark.parametrize(
    ("text", "codes", "defects"),
    [
        (f"{S}{word(1)}{word(258)}", (1, 2), {"missing_end"}),
        (f"{word(1)}{word(258)}{E}", (1, 2), {"missing_start"}),
        (f"{word(1)}{word(258)}", (1, 2), {"missing_start", "missing_end"}),
        (f"{S}{word(1)}{E}", (1, -1), {"second_code_missing"}),
        (f"{S}{word(1)}", (1, -1), {"second_code_missing", "missing_end"}),
        (f"{S}{word(1)}{word(258)}{word(7)}{E}", (1, 2), {"extra_codes"}),
        (f"{S}{word(1)}{word(600)}{E}", (1, -1), {"second_code_out_of_range"}),
        (f"{S}{word(1)}{word(2)}{E}", (1, -1), {"second_code_out_of_range"}),
        (f"{S}{word(1)}<|mt_25|>{E}", (1, -1), {"malformed_word"}),
        (f"{S}{word(258)}{word(1)}{E}", (1, 2), {"books_swapped"}),
        (f"{S}\n{word(1)} {word(258)} {E}", (1, 2), {"spaces_inside"}),
        (f"{S}{word(1)}<|mt_03", (1, -1), {"second_code_missing", "missing_end"}),
    ],
)
def test_damage_is_repaired_and_named(text, codes, defects):
    assert read(text) == (codes, "repaired", defects)
    assert (parse(text)[0].start, parse(text)[0].end) == (0, len(text.removesuffix("<|mt_03")))


@pytest.mark.parametrize(
    ("text", "defects"),
    [
        (S + E, {"no_codes"}),
        (S, {"no_codes", "missing_end"}),
        (E, {"no_codes", "missing_start"}),
        (f"{S}{word(300)}{E}", {"first_code_out_of_range"}),
        (f"{S}{word(266)}{word(276)}{E}", {"first_code_out_of_range"}),
        (f"{S}{word(9999)}{word(276)}{E}", {"first_code_out_of_range"}),
        (f"{S}<|mt_198|>{word(276)}{E}", {"malformed_word"}),
        # Swapped and one more: no telling which of them was meant.
        (f"{S}{word(266)}{word(5)}{word(276)}{E}", {"first_code_out_of_range", "extra_codes"}),
    ],
)
def test_a_span_without_a_first_code_is_rejected(text, defects):
    assert read(text) == (None, "rejected", defects)


def test_whole_pairs_between_one_start_and_one_end_are_a_span_each():
    text = f"{S}{word(1)}{word(258)} {word(3)}{word(260)}{E}"
    first, second = parse(text)
    assert (first.codes, second.codes) == ((1, 2), (3, 4))
    assert text[first.start : first.end] == f"{S}{word(1)}{word(258)}"
    assert text[second.start : second.end] == f"{word(3)}{word(260)}{E}"
    assert "missing_end" in first.defects
    assert "missing_start" in second.defects


def test_text_between_codes_parts_them():
    first, second = parse(f"{S}{word(1)} and {word(258)}{E}")
    assert (first.codes, set(first.defects)) == ((1, -1), {"second_code_missing", "missing_end"})
    assert (second.codes, second.status) == (None, "rejected")


@pytest.mark.parametrize(
    "around", ['{"mask_2d": "%s", "label": "a"}', "<answer>%s</answer>", "犬%s。", "<|%s|>", "<%s"]
)
def test_surroundings_do_not_change_a_span(around):
    text = around % f"{S}{word(1)}{word(258)}{E}"
    (span,) = parse(text)
    assert span.status == "well_formed"
    assert text[span.start : span.end] == f"{S}{word(1)}{word(258)}{E}"


def test_a_damaged_span_does_not_shift_its_neighbours():
    good = f"{S}{word(9)}{word(300)}{E}"
    damaged = [f"{S}{word(2)}{E}", f"{S}{word(2)}", f"{S}{E}", f"{S}{word(300)}{E}", E, S]
    for middle in damaged:
        codes = [span.codes for span in parse(f"{good} {middle} {good}")]
        assert codes[0] == codes[-1] == (9, 44)
        assert len(codes) == 3


PIECES = [S, E, word(1), word(300), word(999), "<|mt_7|>", "<|mt_", "|>", " ", "x", "<", "<answer>"]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_spans_are_in_order_disjoint_and_consistent(pieces):
    text = "".join(pieces)
    position = 0
    for span in parse(text):
        assert position <= span.start < span.end <= len(text)
        position = span.end
        assert (span.codes is None) == (span.status == "rejected")
        assert bool(span.defects) == (span.status != "well_formed")
        if span.status == "well_formed":
            assert format_codes([span.codes]) == [text[span.start : span.end]]


OTHER_TEXT = st.text(st.characters(codec="utf-8"), max_size=40).filter(lambda t: "<|mt_" not in t)


@given(
    st.lists(st.tuples(OTHER_TEXT, st.integers(0, 255), st.integers(-1, 255)), max_size=5),
    OTHER_TEXT,
)
def test_written_codes_are_read_back_from_any_text(masks, ending):
    words = format_codes([codes for _, *codes in masks])
    text = "".join(before + word for (before, *_), word in zip(masks, words, strict=True)) + ending
    spans = parse(text)
    assert [span.codes for span in spans] == [(first, second) for _, first, second in masks]
    assert [text[span.start : span.end] for span in spans] == words


# --- against the published readers ---------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_reads_what_the_published_reader_reads_or_says_why_not(case):
    ours = [list(span.codes) for span in parse(case["text"]) if span.codes]
    published = case["pipeline_plain"]["codes"]
    expected, _why = READ_DIFFERENTLY.get(case["name"], (published, "the same"))
    assert ours == expected
    assert (ours != published) == (case["name"] in READ_DIFFERENTLY)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_splits_reasoning_and_answer_as_published(case):
    assert split_think_answer(case["text"]) == (case["think"], case["answer"])


def test_reasoning_that_is_not_closed_ends_where_the_answer_begins():
    assert split_think_answer("<think>so <answer>x</answer>") == ("so ", "x")


def test_an_answer_quoted_in_the_reasoning_is_not_the_answer():
    text = "<think>write <answer>x</answer></think><answer>y</answer>"
    assert split_think_answer(text) == ("write <answer>x</answer>", "y")


# --- long texts ----------------------------------------------------------------------------------

HOSTILE = {
    "angle brackets": "<",
    "word beginnings": "<|mt_",
    "unclosed words": "<|mt_0011|",
    "starts": S,
    "ends": E,
    "bare codes": word(7),
    "pairs": word(7) + word(300),
    "start and code": S + word(7),
    "start and spaces": S + " ",
    "code and spaces": word(7) + " " * 50,
}


def count_calls(text):
    """Python and C calls made while parsing: the work of everything but the matching itself."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    gc.disable()  # what a collection calls is no work of the parser
    sys.setprofile(count)
    try:
        parse(text)
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_work_grows_in_proportion_to_the_text(piece):
    repeats = 20_000 // len(piece)
    short, double = count_calls(piece * repeats), count_calls(piece * repeats * 2)
    assert double <= 2 * short + 10


# A quadratic scan of a megabyte takes 10¹² steps: hours, whatever the machine.
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "piece",
    [*HOSTILE.values(), "<|mt_" + "1" * 1_000_000, S + " " * 1_000_000],
    ids=[*HOSTILE.keys(), "digits", "spaces"],
)
def test_a_megabyte_is_read(piece):
    text = piece * max(1, 1_000_000 // len(piece)) + f"x{S}{word(1)}{word(258)}{E}"
    last = parse(text)[-1]
    assert (last.codes, last.status) == ((1, 2), "well_formed")
