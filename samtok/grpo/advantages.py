"""Rewards of groups of responses → advantages.

Letters: B prompts, G responses to each.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch

DEFAULT_EPSILON: Final = 1e-4


class GroupAdvantages(NamedTuple):
    """How much better than its group each response is."""

    advantages: torch.Tensor
    """Shape (B, G), the dtype of the rewards; every group sums to 0."""
    spread: torch.Tensor
    """Shape (B,): standard deviation of each group's rewards, G - 1 degrees of freedom."""
    is_flat: torch.Tensor
    """Bool, shape (B,): all rewards of the group are equal, so it teaches nothing."""


def compute_group_advantages(
    rewards: torch.Tensor, *, normalize_by_std: bool, epsilon: float = DEFAULT_EPSILON
) -> GroupAdvantages:
    """Centre rewards within each group of responses to one prompt.

    Args:
        rewards: float, shape (B, G).
        normalize_by_std: divide by the group's standard deviation (GRPO, arXiv 2402.03300) or not
            (Dr. GRPO, arXiv 2503.20783: groups of small spread then do not weigh more).
        epsilon: added to the deviation; in units of the rewards, above 0.

    Raises:
        ValueError: rewards is not (B, G) with at least two responses a group.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards have shape {tuple(rewards.shape)}; expected (B, G) with G >= 2")
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    spread = rewards.std(dim=1)
    is_flat = rewards.amax(dim=1) == rewards.amin(dim=1)
    advantages = centred / (spread[:, None] + epsilon) if normalize_by_std else centred
    # What rounding leaves of a mean of equal numbers must not be blown up.
    return GroupAdvantages(advantages.masked_fill(is_flat[:, None], 0.0), spread, is_flat)
