"""What generates rollouts: a protocol, and the engine that runs on transformers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from samtok.mllm.collate import EncodedExample
from samtok.mllm.generation import GenerationConfig
from samtok.mllm.group_generation import SampledAnswer, generate_groups
from samtok.mllm.grpo.config import GrpoConfig
from samtok.mllm.model import Mllm
from samtok.mllm.training.base import LearningModel


@dataclass(frozen=True, slots=True)
class RolloutPrompt:
    """An open conversation about an image."""

    encoded: EncodedExample
    image: np.ndarray
    """uint8, shape (H, W, 3): for engines that encode images themselves."""


class RolloutEngine(Protocol):
    """Holds a copy of the policy and samples from it."""

    processor: Any
    """Of the policy; its tokenizer has the mask words."""

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Take over the weights that learn, as the trainer has them.

        Args:
            weights: names and float32 tensors, items of `GrpoTrainer.weights`; read once, to the
                end, without keeping them all.
        """
        ...

    def generate(
        self,
        prompts: Sequence[RolloutPrompt],
        seeds: Sequence[Sequence[int]],
        config: GenerationConfig,
    ) -> list[list[SampledAnswer]]:
        """A group of answers for each prompt; see :func:`generate_groups`."""
        ...


class TransformersEngine:
    """The model itself, its prompts read once for each group.

    Args:
        mllm: changed as :class:`GrpoTrainer` changes its own: adapters are put in.
        config: of the training.
    """

    def __init__(self, mllm: Mllm, config: GrpoConfig) -> None:
        self.processor: Any = mllm.processor
        self._learner = LearningModel(mllm, config, mllm.device)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """See `RolloutEngine`.

        Raises:
            CheckpointError: they belong to another model, or other parts of it learn.
        """
        self._learner.load_weights(weights)

    def generate(
        self,
        prompts: Sequence[RolloutPrompt],
        seeds: Sequence[Sequence[int]],
        config: GenerationConfig,
    ) -> list[list[SampledAnswer]]:
        """See `RolloutEngine`."""
        encoded = [prompt.encoded for prompt in prompts]
        return generate_groups(self._learner.mllm, encoded, seeds, config)
