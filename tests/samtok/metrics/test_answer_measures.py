"""What is measured where the masks are, by hand on 4 x 4 pixels."""

import json

import numpy as np
import pytest

from samtok.answer_forms import REF_END, REF_START
from samtok.metrics.answer_measures import AnswerMeasures, list_codes, measure_answers
from samtok.words import format_codes

TOP, LEFT, CORNER = (1, 0), (2, 0), (3, 0)
T, L, C = format_codes([TOP, LEFT, CORNER])


def rows(*numbers):
    mask = np.zeros((4, 4), dtype=bool)
    mask[list(numbers)] = True
    return mask


# The decoder draws the top row for TOP; the corpus has two rows there.
DECODED = {TOP: rows(0), LEFT: rows(0).T, CORNER: np.eye(4, dtype=bool) & rows(0)}
TRUE = {TOP: rows(0, 1), LEFT: rows(0).T}


def measure(answers, targets):
    return measure_answers(answers, targets, decoded=DECODED, true=TRUE, size=(4, 4))


def test_rounds_are_measured_as_decoded_against_as_drawn():
    measures = measure([T, "No target.", T + L], [T, L, T + L])
    # 4 of 8 pixels; nothing of 4; 4 + 4 - 1 = 7 pixels decoded, all among the 8 + 4 - 2 = 10.
    assert measures.overlaps == ((4, 4, 8), (0, 0, 4), (7, 7, 10))
    assert measures.has_right_box is None


def test_one_target_has_a_box():
    # Rows 0 and 1 have a box of 8, row 0 of 4: half. The corner has 1 of 8.
    assert measure([T], [T]).has_right_box
    assert measure([C], [T]).has_right_box is False
    assert measure(["No target."], [T]).has_right_box is False
    assert measure([T], ["No target."]).has_right_box is None


def test_reasoning_is_not_measured():
    assert measure([f"<think>{L}</think><answer>{T}</answer>"], [T]) == measure([T], [T])


def ref(phrase, words):
    return f"{REF_START}{phrase}{REF_END}{words}"


def test_phrases_are_compared_by_all_their_masks():
    answer = f"{ref('a', T + L)} {ref('b', '')} {ref('c', C)}"
    measures = measure([answer], [f"{ref('a', T)} {ref('d', L)}"])
    # a: 7 pixels; with T's 8 it shares row 0 and one of the left column: 5 of 10; with L's 4: 4 of
    # 7. c: the corner is 1 of 8 and 1 of 4. b has no mask.
    assert measures.phrase_ious == [pytest.approx([0.5, 4 / 7]), pytest.approx([1 / 8, 1 / 4])]


def test_triplets_are_compared_end_by_end():
    def graph(subject, other):
        return json.dumps(
            [
                {
                    "subject": {"mask_2d": subject, "label": "cup"},
                    "predicate": "on",
                    "object": {"mask_2d": other, "label": "table"},
                }
            ]
        )

    measures = measure([graph(T, L)], [graph(T, T)])
    assert measures.subject_ious == [[0.5]]
    # The left column shares two of its 4 pixels with two rows of 8.
    assert measures.object_ious == [[pytest.approx(2 / 10)]]
    assert measure(["none"], [graph(T, T)]).subject_ious == []
    assert measure([graph(T, L)], ["[]"]).subject_ious == [[]]


def test_numbers_survive_json():
    measures = measure([T, ref("a", L)], [T, ref("b", L)])
    assert AnswerMeasures.from_json(json.loads(json.dumps(measures.to_json()))) == measures


def test_every_mask_of_the_answers_is_listed_once():
    assert list_codes([f"{L} {T}", f"no {L} {C}"]) == [LEFT, TOP, CORNER]
