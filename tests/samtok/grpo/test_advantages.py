"""Advantages, by hand and against TRL's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from samtok.grpo.advantages import compute_group_advantages

TRL = np.load(Path(__file__).parents[2] / "fixtures" / "grpo" / "trl.npz")


def test_rewards_are_centred_within_their_group():
    rewards = torch.tensor([[0.0, 1.0, 1.0, 0.0], [3.0, 3.0, 0.0, 0.0]])
    result = compute_group_advantages(rewards, normalize_by_std=False)
    assert result.advantages.tolist() == [[-0.5, 0.5, 0.5, -0.5], [1.5, 1.5, -1.5, -1.5]]
    # Deviations of 1/2, four of them over 3: sqrt(1/3); three times as much below.
    assert result.spread.tolist() == pytest.approx([3**-0.5, 3**0.5])


def test_with_std_groups_of_any_spread_weigh_alike():
    rewards = torch.tensor([[0.0, 1.0], [0.0, 0.1]], dtype=torch.float64)
    result = compute_group_advantages(rewards, normalize_by_std=True, epsilon=1e-12)
    # Deviation 1/2 over sqrt(2 · 1/4) = 1/sqrt(2), whatever the scale.
    assert result.advantages.abs().flatten().tolist() == pytest.approx([2**-0.5] * 4)


@pytest.mark.parametrize("normalize_by_std", [True, False])
def test_equal_rewards_are_flagged_and_give_zero(normalize_by_std):
    # The mean of three times 0.1 is not 0.1 to a float.
    rewards = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.1, 0.2]])
    result = compute_group_advantages(rewards, normalize_by_std=normalize_by_std, epsilon=1e-12)
    assert result.is_flat.tolist() == [True, False]
    assert result.advantages[0].tolist() == [0, 0, 0]
    assert bool((result.advantages[1] != 0).all())


@pytest.mark.parametrize(("normalize_by_std", "name"), [(True, "std"), (False, "none")])
def test_advantages_equal_trls(normalize_by_std, name):
    rewards = torch.from_numpy(TRL["rewards"])
    ours = compute_group_advantages(rewards, normalize_by_std=normalize_by_std).advantages
    np.testing.assert_allclose(ours.numpy(), TRL[f"advantages.{name}"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2, 2)])
def test_rewards_come_in_groups(shape):
    with pytest.raises(ValueError, match=r"\(B, G\)"):
        compute_group_advantages(torch.zeros(shape), normalize_by_std=True)
