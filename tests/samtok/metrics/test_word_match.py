"""Exact and first words, by hand."""

import math

import pytest

from samtok.metrics.word_match import WordMatchTally


def score(*answers):
    tally = WordMatchTally()
    for predicted, target in answers:
        tally.add(predicted, target)
    return tally.scores()


def test_pairs_and_first_words_are_matched_one_to_one():
    # (1, 2) is right; (3, 9) has the first word of (3, 4); the second (3, 4) has none left.
    scores = score(([(1, 2), (3, 9)], [(1, 2), (3, 4), (3, 4)]))
    assert scores.exact == pytest.approx(1 / 3)
    assert scores.first == pytest.approx(2 / 3)
    assert scores.all_exact == 0
    assert (scores.num_masks, scores.num_answers) == (3, 1)


def test_order_does_not_matter_but_surplus_does():
    target = [(1, 2), (3, 4)]
    assert score(([(3, 4), (1, 2)], target)).all_exact == 1
    assert score(([(1, 2), (3, 4), (5, 6)], target)).all_exact == 0
    assert score(([(1, 2), (1, 2), (3, 4)], target)).all_exact == 0


def test_rightly_saying_nothing_is_an_answer_without_masks():
    scores = score(([], []), ([(1, 2)], []))
    assert scores.all_exact == 1 / 2
    assert math.isnan(scores.exact)


def test_a_missing_second_code_matches_the_first_word_only():
    scores = score(([(1, -1)], [(1, 2)]))
    assert (scores.exact, scores.first) == (0, 1)
