"""Settings of the tiny base's pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from samtok.errors import ConfigError
from samtok.training.optimizers import OptimizerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainingConfig:
    """Settings of the pretraining."""

    num_steps: int = 10_000
    """Optimizer steps in all."""
    vision_steps: int = 8000
    """So many steps first, in which the vision tower alone learns, from dense supervision; they
    take a third of the time of those with text."""
    head_steps: int = 0
    """So many of these in which only the heads of the supervision learn: they are new in every run,
    and a tower that sees already would first be led astray by them."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """muon: matrices by Muon, the rest by AdamW."""
    learning_rate: float = 3e-3
    """Peak learning rate of the steps with vision alone."""
    text_learning_rate: float = 1e-3
    """Peak learning rate of the steps with text; at a higher one the vision tower forgets."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    warmup_share: float = 0.05
    """Share of each phase with rising learning rate, in [0, 1); cosine to 0 after it."""
    clip_norm: float = 1.0
    """Gradients are scaled down to at most this norm."""
    dense_weight: float = 1.0
    """Weight of the dense supervision beside the text."""
    pointing_weight: float = 1.0
    """Weight of pointing at what a question is about, beside the text."""
    num_lessons: int = 6
    """At most so many questions about each scene."""
    max_tokens: int = 512
    """Conversations are cut off here, so that rows are of one length; an image of 128 x 128 pixels
    takes 64."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Autocast dtype of the steps with text. bfloat16 pays on CPUs that multiply in it (those with
    avx512_bf16 or amx); on others it takes several times as long."""
    images_per_lane: int = 8
    """Scenes of one backward pass."""
    num_lanes: int = 2
    """Backward passes of a step, over all workers."""
    seed: int = 0
    """Seed of scenes, lessons and weights."""

    def __post_init__(self) -> None:
        if not 0 <= self.vision_steps < self.num_steps:
            raise ConfigError(
                f"vision_steps is {self.vision_steps} and num_steps {self.num_steps}; "
                "0 <= vision_steps < num_steps is needed, so that the model learns to talk"
            )
        if not 0 <= self.head_steps <= self.vision_steps:
            raise ConfigError(
                f"head_steps is {self.head_steps} and vision_steps {self.vision_steps}; "
                "0 <= head_steps <= vision_steps is needed, as they are the first of these"
            )
        for name in ("num_lessons", "max_tokens", "images_per_lane", "num_lanes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least 1 is needed")

    @property
    def optimizers(self) -> OptimizerConfig:
        """Those of `samtok.training`."""
        return OptimizerConfig(
            name=self.optimizer, learning_rate=self.learning_rate, weight_decay=self.weight_decay
        )
