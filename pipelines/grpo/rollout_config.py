"""Settings of rollouts: how many actors, how answers are sampled, how stale they may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pipelines.setting_checks import above_zero, at_least
from samtok.errors import ConfigError
from samtok.mllm.generation import GenerationConfig

WeightTransfer: TypeAlias = Literal["auto", "object_store", "broadcast"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutConfig:
    """Settings of the rollout actors and of their sampling."""

    num_actors: int | None = 1
    """Actors that generate; none given: as many as the cluster has room for."""
    cpus_per_actor: float = 1.0
    """CPUs an actor may use; its torch threads. It reserves three quarters of them with Ray."""
    gpus_per_actor: float = 0.0
    """GPUs of an actor; a fraction shares one."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What generates. vllm, on GPUs only, has to be installed where the actors run; not run yet."""
    weight_transfer: WeightTransfer = "auto"
    """How actors get new weights. object_store: each reads a copy; broadcast: from the trainer's
    memory to theirs by NCCL (between CPUs by gloo), and the copy is for actors that are replaced.
    auto: broadcast where trainer and actors have GPUs of their own and --rollouts.max-staleness is
    at most 1."""
    gpu_memory_share: float = 0.9
    """Of a GPU's memory that vllm takes for itself; lower where it shares the GPU."""
    prompts_per_call: int = 4
    """Prompts that an actor answers in one batch; each is answered --responses-per-prompt times."""
    timeout_seconds: float = 900.0
    """A call that takes longer is given up and its actor replaced; the first one loads the
    model."""
    max_attempts: int = 3
    """Calls for the same prompts before the training gives up."""
    max_staleness: int = 0
    """Steps that answers may be behind the weights they train. 0: generation and training take
    turns. 1: the next batch is generated while this one is trained on, and so on."""
    max_tries: float = 1.0
    """Dynamic sampling: prompts whose answers are all worth the same teach nothing, and are
    replaced by others until so many times --prompts-per-step were tried; 1 keeps them all."""
    max_new_tokens: int = 256
    """Most tokens of an answer."""
    temperature: float = 1.0
    """Of sampling; above 0."""
    top_p: float = 1.0
    """Sampling draws from the smallest set of tokens whose probabilities reach this; log-
    probabilities are those without it."""
    constrain_masks: bool = False
    """Only whole mask spans can be sampled. The model is then not taught to write them by
    itself."""

    def __post_init__(self) -> None:
        for name in ("num_actors", "prompts_per_call", "max_attempts", "max_tries"):
            at_least(1, f"rollouts.{name}", getattr(self, name))
        at_least(0, "rollouts.max_staleness", self.max_staleness)
        for name in ("temperature", "cpus_per_actor", "timeout_seconds"):
            above_zero(f"rollouts.{name}", getattr(self, name))
        if self.gpus_per_actor < 0:
            raise ConfigError(
                f"--rollouts.gpus-per-actor is {self.gpus_per_actor}; allowed is 0 or more"
            )
        if self.weight_transfer == "broadcast" and self.max_staleness > 1:
            raise ConfigError(
                f"--rollouts.max-staleness is {self.max_staleness}; actors that weights are "
                "broadcast to keep one version: give at most 1, or --rollouts.weight-transfer "
                "object_store"
            )
        if self.engine == "vllm":
            self._check_vllm()
        self.sampling()

    def _check_vllm(self) -> None:
        if not self.gpus_per_actor > 0:
            raise ConfigError(
                "--rollouts.engine vllm needs a GPU; give --rollouts.gpus-per-actor, or take "
                "transformers"
            )
        if not 0 < self.gpu_memory_share <= 1:
            raise ConfigError(
                f"--rollouts.gpu-memory-share is {self.gpu_memory_share}; allowed is above 0, up "
                "to 1"
            )
        if self.constrain_masks:
            raise ConfigError(
                "--rollouts.engine vllm cannot constrain masks; take transformers, or leave "
                "--rollouts.constrain-masks out"
            )

    def broadcasts_to(self, gpus_per_worker: float) -> bool:
        """Whether weights are broadcast.

        NCCL wants a GPU for each member, so actors that share one read copies.

        Args:
            gpus_per_worker: of the training.
        """
        if self.weight_transfer != "auto":
            return self.weight_transfer == "broadcast"
        return gpus_per_worker >= 1 and self.gpus_per_actor >= 1 and self.max_staleness <= 1

    def sampling(self) -> GenerationConfig:
        """How answers are sampled."""
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            constrain_masks=self.constrain_masks,
        )

    def greedy(self) -> GenerationConfig:
        """The most likely answer, for the audit."""
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens, constrain_masks=self.constrain_masks
        )
