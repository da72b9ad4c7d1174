"""Several rewards weighed up, differently for each task and source, each kept by itself too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias

from samtok.answer_forms import read_codes
from samtok.errors import ConfigError
from samtok.rewards.forms import no_repeat, no_target, phrase_accuracy, think_answer_format
from samtok.rewards.matching import answer_matching, graded_matching, soft_matching
from samtok.rewards.similarity import CodeSimilarity

Component: TypeAlias = Callable[[str, str], float | None]
"""Response and target → 0..1; None where it does not apply to the target."""

COMPONENT_NAMES: Final = (
    "answer_matching",
    "graded_matching",
    "soft_matching",
    "phrase_accuracy",
    "no_target",
    "no_repeat",
    "think_answer_format",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardConfig:
    """Which rewards count how much."""

    weights: tuple[str, ...] = ("answer_matching=1",)
    """COMPONENT=WEIGHT, TASK/COMPONENT=WEIGHT or TASK/SOURCE/COMPONENT=WEIGHT; of several that
    fit a conversation the most specific counts. Weights are 0 or more: 0 only reports a component.
    Components: answer_matching, graded_matching, soft_matching, phrase_accuracy, no_target (where
    the target is none), no_repeat, think_answer_format."""
    similarity: Literal["codebook", "expected_iou"] = "codebook"
    """soft_matching: by distance in the codebooks, or by the table of expected IoU that lies beside
    the tokenizer."""

    def __post_init__(self) -> None:
        for weight in self.weights:
            _parse_weight(weight)
        if not any(value > 0 for _, _, value in map(_parse_weight, self.weights)):
            raise ConfigError(
                f"weights are {' '.join(self.weights) or 'empty'}; at least one above 0 is needed"
            )


@dataclass(frozen=True, slots=True)
class Reward:
    """What a response gets."""

    total: float
    """Sum of the components times their weights."""
    components: Mapping[str, float]
    """Name → 0..1, without weight; those that have a weight and apply."""


class Composition:
    """Rewards of responses, as a config weighs them.

    Args:
        config: weights.
        similarity: what soft_matching compares codes with.

    Raises:
        ConfigError: soft_matching has a weight, and there is no similarity.
    """

    def __init__(self, config: RewardConfig, similarity: CodeSimilarity | None = None) -> None:
        parsed = map(_parse_weight, config.weights)
        self._weights = {(scope, name): weight for scope, name, weight in parsed}
        self._components: dict[str, Component] = {
            "answer_matching": answer_matching,
            "graded_matching": graded_matching,
            "phrase_accuracy": phrase_accuracy,
            "no_target": lambda response, target: (
                None if read_codes(target) else no_target(response)
            ),
            "no_repeat": lambda response, target: no_repeat(response),
            "think_answer_format": lambda response, target: think_answer_format(response),
        }
        if similarity is not None:
            self._components["soft_matching"] = partial(soft_matching, similarity=similarity)
        elif any(name == "soft_matching" for _, name in self._weights):
            raise ConfigError(
                "weights name soft_matching, which needs codebooks or a table of expected IoU; "
                "give a tokenizer"
            )

    def __call__(self, response: str, target: str, *, task: str, source: str = "") -> Reward:
        """Judge a response.

        Args:
            response: what the model wrote.
            target: the right answer.
            task: of the conversation.
            source: data set of the conversation.
        """
        total, components = 0.0, {}
        for name, weight in self._weights_for(task, source).items():
            value = self._components[name](response, target)
            if value is not None:
                components[name] = value
                total += weight * value
        return Reward(total, components)

    def _weights_for(self, task: str, source: str) -> dict[str, float]:
        weights: dict[str, float] = {}
        for scope in ((), (task,), (task, source)):
            weights |= {name: w for (s, name), w in self._weights.items() if s == scope}
        return weights


def _parse_weight(text: str) -> tuple[tuple[str, ...], str, float]:
    """Scope, component and weight of an entry of `RewardConfig.weights`."""
    path, has_weight, weight = text.partition("=")
    *scope, name = path.split("/")
    try:
        value = float(weight)
    except ValueError:
        value = -1.0
    if (
        not has_weight
        or not 0 <= value < float("inf")
        or name not in COMPONENT_NAMES
        or len(scope) > 2
    ):
        raise ConfigError(
            f"weights has {text!r}; allowed is [TASK/[SOURCE/]]COMPONENT=WEIGHT with a weight of 0 "
            f"or more and a component of {', '.join(COMPONENT_NAMES)}"
        )
    return tuple(scope), name, value
