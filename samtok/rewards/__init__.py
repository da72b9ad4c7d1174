"""Rewards: how good a response is, from text alone; no decoder and no pixel.

Each takes the response and the target answer as text and gives 0..1. `Composition` weighs them up.
"""

from samtok.rewards.composition import Composition, Reward, RewardConfig
from samtok.rewards.forms import no_repeat, no_target, phrase_accuracy, think_answer_format
from samtok.rewards.matching import answer_matching, graded_matching, soft_matching
from samtok.rewards.similarity import CodebookSimilarity, CodeSimilarity, ExpectedIou

__all__ = [
    "CodeSimilarity",
    "CodebookSimilarity",
    "Composition",
    "ExpectedIou",
    "Reward",
    "RewardConfig",
    "answer_matching",
    "graded_matching",
    "no_repeat",
    "no_target",
    "phrase_accuracy",
    "soft_matching",
    "think_answer_format",
]
