"""Rewards weighed up."""

import numpy as np
import pytest

from samtok.errors import ConfigError
from samtok.rewards import Composition, RewardConfig
from samtok.words import format_codes

A, B = format_codes([(1, 2), (3, 4)])


def test_components_are_weighed_and_kept_apart():
    judge = Composition(RewardConfig(weights=("answer_matching=2", "no_repeat=0.5")))
    reward = judge(A, A + B, task="referring_segmentation")
    assert reward.components == {"answer_matching": 0.5, "no_repeat": 1.0}
    assert reward.total == 2 * 0.5 + 0.5


def test_the_most_specific_weight_counts():
    weights = ("answer_matching=1", "gcg/answer_matching=3", "gcg/coco/answer_matching=5")
    judge = Composition(RewardConfig(weights=weights))
    assert judge(A, A, task="other", source="coco").total == 1
    assert judge(A, A, task="gcg", source="sa1b").total == 3
    assert judge(A, A, task="gcg", source="coco").total == 5


def test_a_component_may_belong_to_one_task():
    judge = Composition(RewardConfig(weights=("answer_matching=1", "gcg/phrase_accuracy=1")))
    assert "phrase_accuracy" not in judge(A, A, task="gres").components
    assert judge(A, A, task="gcg").components["phrase_accuracy"] == 1


def test_refusals_are_judged_where_there_is_no_target():
    judge = Composition(RewardConfig(weights=("answer_matching=1", "no_target=1")))
    assert judge("", "No target.", task="gres").total == 1 + 0.2
    assert judge("", A, task="gres").components == {"answer_matching": 0.0}


def test_weight_0_reports_only():
    judge = Composition(RewardConfig(weights=("answer_matching=1", "graded_matching=0")))
    reward = judge(A.removesuffix("<|mt_end|>"), A, task="gres")
    assert reward.total == 0
    assert reward.components["graded_matching"] == 0.8


def test_soft_matching_uses_the_similarity_given():
    config = RewardConfig(weights=("soft_matching=1",))
    half = Composition(config, lambda predicted, true: np.full((len(predicted), len(true)), 0.5))
    assert half(A, B, task="gres").total == 0.5
    with pytest.raises(ConfigError, match="tokenizer"):
        Composition(config)


@pytest.mark.parametrize(
    "weights",
    [
        (),
        ("answer_matching=0",),
        ("answer_matching",),
        ("answer_matching=-1",),
        ("answer_matching=nan",),
        ("answer_matching=inf",),
        ("answer_matching=much",),
        ("a/b/c/answer_matching=1",),
        ("answers=1",),
    ],
)
def test_bad_weights_are_refused(weights):
    with pytest.raises(ConfigError, match="weights"):
        RewardConfig(weights=weights)
