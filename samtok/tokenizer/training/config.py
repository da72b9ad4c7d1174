"""Settings of a tokenizer training, and the learning rate they give each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from samtok.errors import ConfigError
from samtok.training.optimizers import OptimizerConfig
from samtok.training.schedule import warm_up_then_cosine

_LOWEST: Final = {
    "num_points": 1,
    "kmeans_vectors": 1,
    "trainable_blocks": 1,
    "consistency_weight": 0,
}
_PHASES: Final = {
    "quantize_from_step": "the codebooks are trained",
    "full_size_from_step": "the tokenizer is for full size",
}
"""Steps at which something begins that has to, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerTrainingConfig:
    """Settings of the training; defaults are the published ones (paper, section 4.1)."""

    num_steps: int = 1000
    """Optimizer steps in all."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw: published. muon: matrices by Muon, the rest by AdamW; from scratch it needs a fraction
    of the steps."""
    learning_rate: float = 4e-5
    """Peak learning rate. Muon's updates are scaled to AdamW's size, so one rate serves both."""
    weight_decay: float = 0.05
    """Decoupled weight decay."""
    warmup_share: float = 0.05
    """Share of the steps with rising learning rate, in [0, 1); cosine to 0 after it."""
    clip_norm: float = 1.0
    """Gradients are scaled down to at most this norm."""
    num_points: int = 512
    """Points per mask that the losses look at."""
    box_point_share: float = 0.0
    """Share of the points drawn from around each mask's box, in [0, 1]; helps from scratch."""
    commitment_weight: float = 1.0
    """Weight of the commitment loss."""
    mask_jitter: float = 0.0
    """Share of the masks that are encoded a pixel off, in [0, 1], while the loss asks for the mask
    itself."""
    consistency_weight: float = 0.0
    """Weight of the distance between what a mask's words stand for and the embedding of the same
    mask a pixel off; makes words steadier. Costs a second pass of the mask encoder."""
    backbone: Literal["frozen", "partial", "full"] = "frozen"
    """frozen: published. partial: the last trunk blocks and the neck learn too. full: everything,
    from scratch."""
    trainable_blocks: int = 2
    """Trunk blocks that learn with --backbone partial, counted from the last."""
    quantize_from_step: int = 0
    """Bypass the quantizer before this step, as an autoencoder; its codebooks then start from
    k-means."""
    kmeans_start: bool = False
    """Start the codebooks from k-means over mask embeddings even where the quantizer is on from
    step 0."""
    full_size_from_step: int = 0
    """Images and masks enter at half their side before this step, at a third of the time
    (progressive resizing). From scratch most can be learned there."""
    restart_below: float = 1.0
    """A code restarts where its running count, in masks per step, falls below this. The published 1
    fits steps of 1,024 masks, 4 for each code; take a quarter of the masks per step and code."""
    restart_size: float = 1.0
    """Running count that a restarted code begins with, at least --training.restart-below."""
    kmeans_vectors: int = 4096
    """Mask embeddings gathered for k-means, at least."""
    box_loss_weight: float = 1.0
    """Weight of a head that reads the box from the mask embedding, while the quantizer is
    bypassed."""
    object_map_weight: float = 0.0
    """Weight of a head that says of every cell of the image's maps which object is there. From
    scratch it teaches the backbone to see; 0 with a pretrained one."""
    foreground_weight: float = 3.0
    """Cross entropy of inside points counts this many times at step 0, falling to 1 by the first
    tenth of the steps before `quantize_from_step`."""
    quantized_learning_rate: float | None = None
    """Peak learning rate once the quantizer is on; None keeps one schedule for all steps."""
    seed: int = 0
    """Seed of point sampling, k-means and restarts."""

    def __post_init__(self) -> None:
        self._check_phases()
        if not 0.0 <= self.warmup_share < 1.0:
            raise ConfigError(f"warmup_share is {self.warmup_share}; allowed is 0 <= share < 1")
        for name in ("box_point_share", "mask_jitter"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed is 0 to 1")
        for name, lowest in _LOWEST.items():
            if getattr(self, name) < lowest:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least {lowest} is needed")
        if self.restart_size < self.restart_below:
            raise ConfigError(
                f"restart_size is {self.restart_size}, below restart_below "
                f"({self.restart_below}); a restarted code would be dead at once"
            )
        for name in ("learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0")

    def _check_phases(self) -> None:
        for name, why in _PHASES.items():
            if not 0 <= getattr(self, name) < self.num_steps:
                raise ConfigError(
                    f"{name} is {getattr(self, name)} and num_steps {self.num_steps}; "
                    f"0 <= {name} < num_steps is needed, so that {why}"
                )

    @property
    def starts_codebooks(self) -> bool:
        """Whether the codebooks start from k-means when the quantizer goes on."""
        return self.kmeans_start or self.quantize_from_step > 0

    @property
    def optimizers(self) -> OptimizerConfig:
        """The optimizer's share of these settings."""
        return OptimizerConfig(
            name=self.optimizer, learning_rate=self.learning_rate, weight_decay=self.weight_decay
        )


def learning_rate_at(step: int, config: TokenizerTrainingConfig) -> float:
    """Linear warm-up, then cosine to 0; each phase has its own where their peaks differ."""
    start, end, peak = 0, config.num_steps, config.learning_rate
    if config.quantized_learning_rate is not None:
        if step >= config.quantize_from_step:
            start, peak = config.quantize_from_step, config.quantized_learning_rate
        else:
            end = config.quantize_from_step
    return peak * warm_up_then_cosine(step - start, end - start, config.warmup_share)


def foreground_weight_at(step: int, config: TokenizerTrainingConfig) -> float:
    """Weight of inside points: from `foreground_weight` at step 0 down to 1, then 1."""
    span = config.quantize_from_step / 10
    if step >= span:
        return 1.0
    return config.foreground_weight + (1 - config.foreground_weight) * step / span
