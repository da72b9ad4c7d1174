"""Matching rewards, by hand, and on the texts of the published readers' cases."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samtok.rewards import answer_matching, graded_matching, soft_matching
from samtok.words import format_codes

CASES = {
    case["name"]: case
    for case in json.loads(
        (Path(__file__).parents[2] / "fixtures" / "parity" / "words.json").read_text("utf-8")
    )
}
A, B, C, D = format_codes([(1, 2), (3, 4), (5, 6), (7, 8)])
OPEN_A = A.removesuffix("<|mt_end|>")
FIRST_A = "<|mt_start|><|mt_0001|><|mt_0300|><|mt_end|>"  # 300 - 256 = 44
LONE_A = "<|mt_start|><|mt_0001|><|mt_end|>"
TORN = "<|mt_start|>"


@pytest.mark.parametrize(
    ("response", "target", "reward"),
    [
        (A, A, 1),
        (f"{B} and {A}", A + B, 1),
        (A, A + B, 1 / 2),
        (A + B + C, A, 1 / 3),
        (A + C, A + B, 1 / 2),
        (C, A, 0),
        # Written twice, matched once: 1 of max(2, 1); 2 of max(4, 2).
        (A + A, A, 1 / 2),
        (A + A + A + B, A + B, 1 / 2),
        # Two true masks of the same words are one to the text.
        (A, A + A, 1),
        # Nothing to find.
        ("No target.", "No target.", 1),
        ("", "No target.", 1),
        (A, "No target.", 0),
        (TORN, "No target.", 0),
        ("No target.", A, 0),
        # Defects get no credit, and count as predictions.
        (OPEN_A, A, 0),
        (LONE_A, A, 0),
        (A + TORN, A, 1 / 2),
        # Reasoning does not count.
        (f"<think>{B}{C}</think><answer>{A}</answer>", A, 1),
        (f"<think>{A}</think><answer>No target.</answer>", A, 0),
    ],
)
def test_answer_matching(response, target, reward):
    assert answer_matching(response, target) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("response", "target", "reward"),
    [
        (A, A, 1),
        (OPEN_A, A, 0.8),
        (FIRST_A, A, 0.4),
        (LONE_A, A, 0.4),
        (A + OPEN_A, A, 1 / 2),
        (C, A, 0),
        # A exact, B's place taken by nothing of its kind: 1 of 2.
        (A + FIRST_A, A + B, 1 / 2),
        # The exact one keeps its mask, so the near one gets the other with the same first word.
        (A + LONE_A, A + FIRST_A, (1 + 0.4) / 2),
        ("No target.", "No target.", 1),
        (LONE_A, "No target.", 0),
    ],
)
def test_graded_matching(response, target, reward):
    assert graded_matching(response, target) == pytest.approx(reward)


def distance_similarity(predicted, true):
    """1 minus a tenth per step in the second code, 0 for other first codes."""
    far = np.abs(predicted[:, None, 1] - true[None, :, 1])
    return np.where(predicted[:, None, 0] == true[None, :, 0], np.maximum(0, 1 - far / 10), 0)


def words(*seconds):
    return "".join(format_codes([(9, second) for second in seconds]))


def test_soft_matching_pairs_as_a_whole():
    # 5 is nearest to 4 (0.9), but then 0 and 9 remain (0.1); crosswise: 0.6 + 0.5... by hand:
    # targets 4, 9. 5→4, 0→9: 0.9 + 0.1 = 1.0; 5→9, 0→4: 0.6 + 0.6 = 1.2.
    assert soft_matching(words(5, 0), words(4, 9), distance_similarity) == pytest.approx(1.2 / 2)


def test_soft_matching_counts_as_answer_matching_does():
    assert soft_matching(words(4, 4), words(4), distance_similarity) == 1 / 2
    assert soft_matching(words(5), words(4, 90), distance_similarity) == pytest.approx(0.45)
    assert soft_matching("No target.", "No target.", distance_similarity) == 1
    assert soft_matching(words(4), "No target.", distance_similarity) == 0
    open_span = words(5).removesuffix("<|mt_end|>")
    assert soft_matching(open_span, words(4), distance_similarity) == pytest.approx(0.8 * 0.9)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(0, 12), min_size=1, max_size=4, unique=True),
)
def test_no_other_assignment_is_better(predicted, true):
    short, long = sorted((predicted, true), key=len)
    best = max(
        sum(max(0, 1 - abs(a - b) / 10) for a, b in zip(short, chosen, strict=True))
        for chosen in permutations(long, len(short))
    )
    reward = soft_matching(words(*predicted), words(*true), distance_similarity)
    assert reward == pytest.approx(best / len(long))


WELL_FORMED = (
    "one_good",
    "good_edges",
    "three_masks",
    "json_answer",
    "think_answer",
    "think_answer_two",
    "answer_unclosed",
    "answer_only",
    "two_answers",
    "im_end_suffix",
    "ten_masks",
)


@pytest.mark.parametrize("name", WELL_FORMED)
def test_what_published_readers_find_whole_is_all_right(name):
    case = CASES[name]
    target = "".join(format_codes(case["pipeline_think_answer"]["codes"]))
    for reward in (answer_matching, graded_matching):
        assert reward(case["text"], target) == 1


@pytest.mark.parametrize("name", ["plain_text", "empty", "answer_empty", "think_only_closed"])
def test_what_published_readers_find_empty_is_no_target(name):
    assert CASES[name]["pipeline_think_answer"]["result"] == "empty"
    assert answer_matching(CASES[name]["text"], "No target.") == 1


@pytest.mark.parametrize(
    ("name", "graded", "exact"),
    [
        ("two_codes_no_end", 0.8, 0),
        ("missing_start", 0.8, 0),
        ("spaces_inside", 0.8, 0),
        ("one_code", 0.4, 0),
        ("code_9999", 0.4, 0),
        ("good_then_one_code", (1 + 0.4) / 2, 1 / 2),
    ],
)
def test_damaged_spans_are_graded(name, graded, exact):
    case = CASES[name]
    # What is missing from the response is in the target.
    codes = [[first, max(second, 0)] for first, second in case["pipeline_think_answer"]["codes"]]
    target = "".join(format_codes(codes))
    assert graded_matching(case["text"], target) == pytest.approx(graded)
    assert answer_matching(case["text"], target) == exact
