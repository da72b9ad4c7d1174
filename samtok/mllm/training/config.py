"""Settings of a supervised fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from samtok.errors import ConfigError
from samtok.training.optimizers import OptimizerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SftConfig:
    """Settings of the training step."""

    num_steps: int = 1000
    """Optimizer steps in all."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: weight matrices by Muon, the rest (embeddings and head too) by AdamW."""
    learning_rate: float = 1e-5
    """Peak learning rate; with LoRA some 10 times as high."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    warmup_share: float = 0.03
    """Share of the steps with rising learning rate, in [0, 1); cosine to 0 after it."""
    clip_norm: float = 1.0
    """Gradients are scaled down to at most this norm."""
    new_row_rate: float = 1.0
    """Learning rate of the mask words' rows in embeddings and head, as a multiple of the rest's."""
    word_rows: Literal["noise", "codebook"] = "noise"
    """Where the rows of new mask words start. noise: around the mean of the others. codebook: codes
    lie to each other as in the tokenizer's books, so that masks that are alike have words that are;
    start and end are the brackets of a box."""
    freeze_vision: bool = False
    """Leave the vision tower as it is."""
    freeze_projector: bool = False
    """Leave what brings image features to the language model (the mergers) as it is."""
    freeze_llm: bool = False
    """Leave the language model's layers as they are; embeddings and head always learn, as the mask
    words are rows of them."""
    lora_rank: int = 0
    """Rank of LoRA adapters on the linear layers of every part that is not frozen, whose own
    weights then stay as they are; 0 trains all weights. Needs the extra samtok[lora]."""
    lora_alpha: int = 16
    """Adapters count alpha / rank times."""
    lora_dropout: float = 0.0
    """Dropout before the adapters, in [0, 1)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast dtype of the forward pass; auto: bfloat16 on GPUs, float32 on CPUs. bfloat16 pays on
    CPUs that multiply in it (those with avx512_bf16 or amx); on others it takes several times as
    long."""
    vision_cache_mib: int = 0
    """Memory of each worker for what the vision tower makes of images, so that one that comes again
    is not looked at again; the least recently used go first. Pays where the images fit: 6,000 of
    128 x 128 pixels take 600 MiB in the tiny model, half of it with bfloat16. Needs a frozen vision
    tower and projector, and ddp; 0 keeps nothing."""
    gradient_checkpointing: bool = False
    """Keep each layer's input only and compute the rest again in the backward pass: less memory, a
    third more work."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """ddp: every worker holds all weights. fsdp: weights, gradients and optimizer states are shared
    out (FSDP2); full weights are gathered for checkpoints."""
    seed: int = 0
    """Seed of adapters and dropout."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ConfigError(f"num_steps is {self.num_steps}; at least 1 is needed")
        for name in ("learning_rate", "clip_norm", "new_row_rate", "lora_alpha"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("warmup_share", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}; at least 0 and below 1 is allowed"
                )
        if self.lora_rank < 0:
            raise ConfigError(f"lora_rank is {self.lora_rank}; 0 (no LoRA) or more is allowed")
        if self.lora_rank and find_spec("peft") is None:
            raise ConfigError(
                f"lora_rank is {self.lora_rank}, and LoRA needs peft: pip install 'samtok[lora]'"
            )
        if self.vision_cache_mib < 0:
            raise ConfigError(f"vision_cache_mib is {self.vision_cache_mib}; allowed is 0 or more")
        self._check_together()

    def _check_together(self) -> None:
        frozen = self.freeze_vision and self.freeze_projector
        if self.vision_cache_mib and not (frozen and self.parallel == "ddp"):
            raise ConfigError(
                f"vision_cache_mib is {self.vision_cache_mib}, and what is kept of images must not "
                "change: set freeze_vision and freeze_projector, and parallel to ddp; or 0"
            )
        if self.parallel == "fsdp" and self.new_row_rate != 1:
            raise ConfigError(
                f"new_row_rate is {self.new_row_rate} with parallel fsdp, which deals single rows "
                "out to the workers; use ddp, or a new_row_rate of 1"
            )

    @property
    def optimizers(self) -> OptimizerConfig:
        """The optimizer's share of these settings."""
        return OptimizerConfig(
            name=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            betas=(0.9, 0.95),
        )
