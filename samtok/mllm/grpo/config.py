"""Settings of GRPO's training step."""

from __future__ import annotations

from dataclasses import dataclass, field

from samtok.errors import ConfigError
from samtok.grpo.policy_loss import PolicyLossConfig
from samtok.mllm.training.config import SftConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class GrpoConfig(SftConfig):
    """Settings of the training step: those of fine-tuning, and what GRPO adds."""

    num_steps: int = 200
    """Batches of rollouts in all."""
    learning_rate: float = 1e-6
    """Peak learning rate; with LoRA some 10 times as high."""
    num_minibatches: int = 1
    """Optimizer updates on each batch of rollouts, each on its share of the prompts."""
    normalize_by_std: bool = True
    """Divide advantages by the deviation of their group (GRPO), or not (Dr. GRPO)."""
    loss: PolicyLossConfig = field(default_factory=PolicyLossConfig)
    """Clipping, the penalty on leaving the model that the training starts from, and averaging."""

    def __post_init__(self) -> None:
        SftConfig.__post_init__(self)  # super() does not find its way in slotted classes
        if self.num_minibatches < 1:
            raise ConfigError(f"num_minibatches is {self.num_minibatches}; at least 1 is needed")
        if self.lora_dropout:
            raise ConfigError(
                f"lora_dropout is {self.lora_dropout}; with GRPO it must be 0, as probabilities "
                "would be those of another model each time"
            )
