"""The gRefCOCO numbers, against the published evaluator's; rounds kept apart."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from samtok.metrics.gres import GresTally, RoundTally
from samtok.metrics.segmentation import Overlap

FIXTURES = Path(__file__).parents[2] / "fixtures" / "parity"
SETS = json.loads((FIXTURES / "metrics.json").read_text())
MASKS = np.load(FIXTURES / "metrics.npz")

FULL, EMPTY = np.ones((2, 3), dtype=bool), np.zeros((2, 3), dtype=bool)


def score_set(name):
    tally = GresTally()
    for n in range(SETS[name]["n"]):
        tally.add(MASKS[f"{name}.{n}.pred"], MASKS[f"{name}.{n}.gt"])
    return tally.scores()


@pytest.mark.parametrize("name", [name for name, numbers in SETS.items() if numbers["exact"]])
def test_scores_equal_the_published_evaluator(name):
    expected = SETS[name]
    scores = score_set(name)
    found = {
        "N_acc": scores.n_acc,
        "T_acc": scores.t_acc,
        "g_iou": scores.g_iou,
        "c_iou": scores.c_iou,
    }
    for key, share in found.items():
        assert 100 * share == pytest.approx(expected["exact"][key], rel=1e-14, abs=0)
        assert round(100 * share, 2) == expected["rounded"][key]
    assert scores.num_skipped == expected["skipped"]
    assert scores.num_samples == expected["n"]


def test_samples_of_one_kind_leave_the_other_accuracy_undefined():
    with_targets = score_set("targets_only")
    assert math.isnan(with_targets.n_acc)
    assert with_targets.t_acc == 1
    pairs = SETS["targets_only"]["per_pair"]
    terms = [pair["inter"] / pair["union"] for pair in pairs]
    assert with_targets.g_iou == pytest.approx(sum(terms) / len(terms))
    without = score_set("no_targets_bad_only")
    assert math.isnan(without.t_acc)
    assert (without.n_acc, without.g_iou, without.c_iou) == (0, 0, 0)


def test_no_samples_have_no_scores():
    scores = GresTally().scores()
    assert math.isnan(scores.g_iou)
    assert math.isnan(scores.n_acc)


def test_a_skipped_pair_without_target_counts_nowhere():
    tally = GresTally()
    tally.add(np.ones((1, 1), bool), EMPTY)
    scores = tally.scores()
    assert (scores.num_skipped, scores.num_samples) == (1, 1)
    assert math.isnan(scores.n_acc)


def test_rounds_have_sums_of_their_own():
    tally = RoundTally()
    tally.add_overlap(2, Overlap(1, 2, 3))  # union 4
    tally.add_overlap(1, Overlap(6, 6, 6))
    tally.add_overlap(2, Overlap(2, 2, 8))  # union 8
    scores = tally.scores()
    assert list(scores) == [1, 2]
    assert scores[1].c_iou == pytest.approx(1)
    assert scores[2].c_iou == pytest.approx(3 / 12)
    assert scores[2].g_iou == pytest.approx((1 / 4 + 2 / 8) / 2)
