"""Rewards for form, by hand."""

import pytest

from samtok.answer_forms import REF_END, REF_START
from samtok.rewards import no_repeat, no_target, phrase_accuracy, think_answer_format
from samtok.words import format_codes

A, B = format_codes([(1, 2), (3, 4)])


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        (f"<think>it is left</think><answer>{A}</answer>", 1),
        (f"\n<think>\nleft\n</think>\n<answer>\n{A}\n</answer>\n", 1),
        ("<think></think><answer></answer>", 1),
        (A, 0),
        (f"<answer>{A}</answer>", 0),
        (f"<think>left</think>{A}", 0),
        (f"<think>left</think><answer>{A}", 0),
        (f"<think>left</think><answer>{A}</answer> done", 0),
        (f"<think>left</think> so <answer>{A}</answer>", 0),
        (f"<think>a</think><answer>{A}</answer><answer>{B}</answer>", 0),
        (f"<think><think>a</think><answer>{A}</answer>", 0),
        ("", 0),
    ],
)
def test_structure_is_thought_then_answer(response, reward):
    assert think_answer_format(response) == reward


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ("", 1),
        (A * 3 + B * 3, 1),
        (A * 4, 0),
        (f"{A} {B} {A} {B} {A} {B} {A}", 0),
        (A * 3 + A.removesuffix("<|mt_end|>"), 0),
        ("<|mt_start|> x " * 4, 0),
    ],
)
def test_a_span_may_stand_three_times(response, reward):
    assert no_repeat(response) == reward


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ("No target.", 1),
        ("There is no target here", 1),
        ("<think>what?</think><answer>No target.</answer>", 1),
        (f"<think>{A}?</think><answer>No target.</answer>", 1),
        ("I cannot see it.", 0.2),
        ("", 0.2),
        ("<think>No target.</think><answer>hm</answer>", 0.2),
        ("no targeted answer", 0.2),
        (A, 0),
        (f"No target. {A}", 0),
        ("No target. <|mt_start|>", 0),
    ],
)
def test_refusing_is_saying_so_and_naming_no_mask(response, reward):
    assert no_target(response) == reward


def ref(*phrases):
    return " ".join(f"{REF_START}{phrase}{REF_END}{A}" for phrase in phrases)


@pytest.mark.parametrize(
    ("response", "target", "reward"),
    [
        (ref("the red cup", "Table"), ref("a table", "red cup"), 1),
        (ref("red cup"), ref("red cup", "table"), 1 / 2),
        (ref("red cup", "pot", "table"), ref("red cup"), 1 / 3),
        (ref("cup", "cup"), ref("cup"), 1 / 2),
        (ref("cup"), ref("cup", "cup"), 1 / 2),
        ("a red cup", ref("red cup"), 0),
        ("a cup", "a pot", 1),
        (ref("cup"), "a pot", 0),
        (f"<think>{ref('pot')}</think><answer>{ref('cup')}</answer>", ref("cup"), 1),
    ],
)
def test_phrases_are_matched_one_to_one(response, target, reward):
    assert phrase_accuracy(response, target) == pytest.approx(reward)
