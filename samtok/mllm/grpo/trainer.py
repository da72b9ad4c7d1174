"""The step of GRPO (arXiv 2402.03300), on one process or many: a batch of rollouts, some updates.

A step's batch is a list of micro-batches, the *lanes*, dealt out to the processes in order; see
:mod:`samtok.training.lanes`. It is cut into minibatches, each an optimizer update. Ratios are
taken to the trainer's own probabilities before the first update, so that what the sampler computes
differently (another kernel, another precision) cannot bias them; how much that is, is measured.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch

from samtok.grpo.policy_loss import policy_loss
from samtok.mllm.grpo.batches import GroupBatch
from samtok.mllm.grpo.config import GrpoConfig
from samtok.mllm.grpo.objective import AnswerLogprobs, PolicyObjective
from samtok.mllm.model import Mllm
from samtok.mllm.training.base import MllmTrainer
from samtok.mllm.training.parts import list_layers
from samtok.training.collectives import num_processes, sum_over_processes
from samtok.training.sharding import shard, without_sync

_SUMS: Final = ("loss", "kl", "entropy", "clip_low_share", "clip_high_share", "sampler_drift")


class _Lane(NamedTuple):
    """A micro-batch with what is known of it before the first update."""

    batch: GroupBatch
    old_logprobs: torch.Tensor | None
    """(N, L); None where the pass that learns is the first to see it."""
    reference_logprobs: torch.Tensor | None


class GrpoTrainer(MllmTrainer):
    """A policy with everything a step of GRPO needs.

    Args:
        mllm: trained in place; its vocabulary has the mask words. As it is given, it is the
            reference that the divergence is measured from.
        config: settings.
        temperature: that answers are sampled with; above 0.
        device: where to train.
        dtype: autocast dtype of the forward pass.
    """

    def __init__(
        self,
        mllm: Mllm,
        config: GrpoConfig,
        *,
        temperature: float,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        # The mask of a group's row is no plain causal one, which FlashAttention alone knows.
        mllm.model.set_attn_implementation("sdpa")
        self._reference: PolicyObjective | None = None
        if config.loss.kl_weight > 0:
            frozen = copy.deepcopy(mllm.model).to(device).requires_grad_(False).eval()
            self._reference = PolicyObjective(frozen, dtype, temperature)
            if config.parallel == "fsdp":
                shard(self._reference, list_layers(frozen), device)
        super().__init__(
            mllm, config, lambda model: PolicyObjective(model, dtype, temperature), device=device
        )

    def train_step(self, lanes: Sequence[GroupBatch]) -> dict[str, float]:
        """The updates of one batch of rollouts.

        Args:
            lanes: this process's micro-batches, those of the first minibatch first; a multiple of
                the number of minibatches, as many on every process.

        Returns:
            Of the whole batch, the same on every process, means over tokens: the loss, ``kl`` (from
            the reference; 0 without one), ``entropy`` (nats), shares of clipped tokens and
            ``sampler_drift`` (absolute difference of the sampler's log-probabilities to the
            trainer's); of the last update gradient norm and learning rate; and the numbers of
            prompts, responses, tokens read and response tokens.
        """
        size, rest = divmod(len(lanes), self.config.num_minibatches)
        if rest or not size:
            raise ValueError(
                f"{len(lanes)} lanes cannot be cut into {self.config.num_minibatches} minibatches"
            )
        self._model.train()
        batches = [batch.to(self.device) for batch in lanes]
        prepared = [self._prepare(batch, is_first=n < size) for n, batch in enumerate(batches)]
        sums = torch.zeros(len(_SUMS), device=self.device)
        for start in range(0, len(lanes), size):
            sums += self._backward(prepared[start : start + size])
            taken = self._optimize()
        self.step += 1
        prompts, responses, tokens, response_tokens = _count(batches, self.device)
        sums = sum_over_processes(sums)
        # Losses are means already, one for each minibatch.
        divisors = torch.full_like(sums, response_tokens)
        divisors[0] = self.config.num_minibatches
        return {
            **dict(zip(_SUMS, (sums / divisors).tolist(), strict=True)),
            **taken,
            "num_prompts": prompts,
            "num_responses": responses,
            "num_tokens": tokens,
            "num_response_tokens": response_tokens,
        }

    @torch.no_grad()
    def score(self, batch: GroupBatch) -> AnswerLogprobs:
        """Log-probabilities without learning from them; with FSDP every process takes part."""
        scored: AnswerLogprobs = self._objective(batch.to(self.device))
        return scored

    def _prepare(self, batch: GroupBatch, *, is_first: bool) -> _Lane:
        """What has to be known before the first update; the first minibatch needs no old pass."""
        reference = None
        if self._reference is not None:
            with torch.no_grad():
                reference = self._reference(batch).logprobs
        return _Lane(batch, None if is_first else self.score(batch).logprobs, reference)

    def _backward(self, lanes: Sequence[_Lane]) -> torch.Tensor:
        """Gradients of a minibatch; returns this process's sums, in the order of `_SUMS`."""
        divisor = self._find_divisor([lane.batch for lane in lanes])
        sums = torch.zeros(len(_SUMS), device=self.device)
        for position, (batch, old_logprobs, reference) in enumerate(lanes):
            with without_sync(self._parallel, waits=position < len(lanes) - 1):
                scored = self._parallel(batch)
                old = scored.logprobs.detach() if old_logprobs is None else old_logprobs
                result = policy_loss(
                    scored.logprobs,
                    old,
                    batch.advantages,
                    batch.mask,
                    self.config.loss,
                    reference_logprobs=reference,
                    divisor=divisor,
                )
                # Data-parallel training averages gradients.
                (result.loss * num_processes()).backward()
            drift = (old - batch.sampled_logprobs).abs().masked_fill(~batch.mask, 0.0).sum()
            clipped = result.num_clipped_low, result.num_clipped_high
            parts = (result.loss.detach(), result.kl_sum, scored.entropy_sum, *clipped, drift)
            sums += torch.stack([part.float() for part in parts])
        return sums

    def _find_divisor(self, batches: Sequence[GroupBatch]) -> torch.Tensor:
        """Tokens or sequences of a minibatch, over all processes."""
        is_by_token = self.config.loss.averaging == "token"
        counts = [int(b.mask.sum()) if is_by_token else len(b.mask) for b in batches]
        return sum_over_processes(torch.tensor(float(sum(counts)), device=self.device))


def _count(batches: Sequence[GroupBatch], device: torch.device) -> list[float]:
    counts = torch.tensor(
        [[b.num_groups, len(b.mask), b.num_tokens, int(b.mask.sum())] for b in batches],
        dtype=torch.float64,
        device=device,
    )
    return sum_over_processes(counts.sum(0)).tolist()
