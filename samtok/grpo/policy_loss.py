"""The clipped policy loss with a penalty on leaving a reference.

Sources: clipping is PPO's (arXiv 1707.06347), bounds apart from each other DAPO's (2503.14476);
the estimator of the KL divergence is the low-variance one of GRPO (2402.03300, equation 4; "k3"),
``exp(r - p) - (r - p) - 1`` for log-probabilities p of the policy and r of the reference: unbiased
for tokens sampled from the policy, and never negative.

Letters: N sequences, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from samtok.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyLossConfig:
    """Options of the loss."""

    clip_low: float = 0.2
    """A ratio of new to old probability below 1 minus this earns nothing more, in (0, 1]."""
    clip_high: float = 0.2
    """A ratio above 1 plus this earns nothing more, above 0; DAPO takes 0.28, so that unlikely
    tokens can become likely."""
    kl_weight: float = 0.0
    """Weight of the divergence from the reference, 0 or more; with 0 no reference is needed."""
    averaging: Literal["token", "sequence"] = "token"
    """token: every token counts alike, so long responses count more (DAPO). sequence: every
    response counts alike, its tokens averaged first (GRPO as first published)."""

    def __post_init__(self) -> None:
        if not 0 < self.clip_low <= 1:
            raise ConfigError(f"clip_low is {self.clip_low}; allowed is above 0, up to 1")
        if not self.clip_high > 0:
            raise ConfigError(f"clip_high is {self.clip_high}; it must be above 0")
        if not self.kl_weight >= 0:
            raise ConfigError(f"kl_weight is {self.kl_weight}; allowed is 0 or more")


class PolicyLoss(NamedTuple):
    """The loss, and sums over tokens that add up over micro-batches and processes."""

    loss: torch.Tensor
    """Scalar; minimise it."""
    kl_sum: torch.Tensor
    """Scalar, no gradient: of the estimated divergence from the reference; 0 without one."""
    num_clipped_low: torch.Tensor
    """Scalar: tokens whose ratio has fallen below the bound, and whose loss is clipped."""
    num_clipped_high: torch.Tensor
    """Scalar: tokens whose ratio has risen above it, and whose loss is clipped."""
    num_tokens: torch.Tensor
    """Scalar: tokens that count."""


def policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    config: PolicyLossConfig,
    *,
    reference_logprobs: torch.Tensor | None = None,
    divisor: torch.Tensor | float | None = None,
) -> PolicyLoss:
    """Loss of a batch of responses.

    Args:
        logprobs: float, shape (N, L): log-probability of each token under the policy; carries the
            gradient.
        old_logprobs: float, shape (N, L): under the policy that the responses were scored with.
        advantages: float, shape (N,).
        mask: bool, shape (N, L): tokens of the response; the others may hold anything finite.
        config: options.
        reference_logprobs: float, shape (N, L): under the reference. Without weight only measured.
        divisor: what the sum over this batch is divided by: tokens or sequences, as `averaging`
            says, of all micro-batches of the step; by default those of this batch.

    Raises:
        ValueError: the KL divergence has a weight and there is no reference, or shapes differ.
    """
    _check_shapes(logprobs, old_logprobs, advantages, mask, reference_logprobs)
    if config.kl_weight > 0 and reference_logprobs is None:
        raise ValueError(f"kl_weight is {config.kl_weight}, and there is no reference_logprobs")
    ratio = torch.exp(logprobs - old_logprobs.detach())
    gains = advantages.detach()[:, None]
    clipped_ratio = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    losses = -torch.minimum(ratio * gains, clipped_ratio * gains)
    kl = torch.zeros_like(losses)
    if reference_logprobs is not None:
        kl = estimate_kl(logprobs, reference_logprobs)
        if config.kl_weight > 0:
            losses = losses + config.kl_weight * kl
    return PolicyLoss(
        loss=_average(losses, mask, config, divisor),
        kl_sum=kl.detach().masked_fill(~mask, 0.0).sum(),
        num_clipped_low=(mask & (ratio < 1 - config.clip_low) & (gains < 0)).sum(),
        num_clipped_high=(mask & (ratio > 1 + config.clip_high) & (gains > 0)).sum(),
        num_tokens=mask.sum(),
    )


def estimate_kl(logprobs: torch.Tensor, reference_logprobs: torch.Tensor) -> torch.Tensor:
    """Low-variance estimate of KL(policy || reference), token by token, 0 or more.

    Args:
        logprobs: of sampled tokens under the policy; any shape.
        reference_logprobs: the same under the reference.
    """
    gap = reference_logprobs.detach() - logprobs
    return torch.exp(gap) - gap - 1


def _average(
    losses: torch.Tensor,
    mask: torch.Tensor,
    config: PolicyLossConfig,
    divisor: torch.Tensor | float | None,
) -> torch.Tensor:
    lengths = mask.sum(dim=1)
    sums = losses.masked_fill(~mask, 0.0).sum(dim=1)
    if config.averaging == "sequence":
        sums = sums / lengths.clamp(min=1)
        count: torch.Tensor | float = len(mask)
    else:
        count = lengths.sum().clamp(min=1)
    return sums.sum() / (count if divisor is None else divisor)


def _check_shapes(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    reference_logprobs: torch.Tensor | None,
) -> None:
    """Broadcasting would hide a mistake."""
    reference = logprobs if reference_logprobs is None else reference_logprobs
    shapes = [tuple(t.shape) for t in (logprobs, old_logprobs, mask, reference)]
    if len(set(shapes)) > 1 or tuple(advantages.shape) != shapes[0][:1] or mask.ndim != 2:
        raise ValueError(
            f"logprobs, old_logprobs, mask and reference are {shapes}; all must be (N, L); "
            f"advantages are {tuple(advantages.shape)}, which must be (N,)"
        )
