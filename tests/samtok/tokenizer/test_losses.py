"""Losses against the published implementation's numbers and against their definitions."""

import numpy as np
import pytest
import torch

from samtok.tokenizer.losses import (
    choose_uncertain_points,
    dense_mask_losses,
    dice_loss,
    point_mask_losses,
    sample_points,
)


@pytest.fixture(scope="module")
def stored(parity_fixtures):
    return {
        k: torch.from_numpy(np.array(v))
        for k, v in parity_fixtures.load_npz("small/losses.npz").items()
    }


def stack_targets(stored):
    """Targets have sizes of their own; each is brought to 64 x 64 by nearest neighbour."""
    return [stored[f"gt_{j}"][None].float() for j in range(3)]


def test_dense_losses_and_gradient(stored):
    logits = stored["pred"][:, 0].clone().requires_grad_()
    losses = dense_mask_losses(logits, stored["gt_lowres"])
    torch.testing.assert_close(losses.bce, stored["loss_mask"], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(losses.dice, stored["loss_dice"], atol=1e-6, rtol=1e-5)
    (losses.bce + losses.dice).backward()
    torch.testing.assert_close(logits.grad, stored["grad"][:, 0], atol=1e-8, rtol=1e-4)


def test_targets_of_other_sizes(stored):
    each = [
        dense_mask_losses(stored["pred"][j], target)
        for j, target in enumerate(stack_targets(stored))
    ]
    torch.testing.assert_close(torch.stack([e.bce for e in each]), stored["loss_mask_each"])
    torch.testing.assert_close(torch.stack([e.dice for e in each]), stored["loss_dice_each"])


def test_empty_target(stored):
    losses = dense_mask_losses(stored["pred"][0], torch.zeros(1, 64, 64))
    torch.testing.assert_close(losses.bce, stored["loss_mask_empty_target"])
    torch.testing.assert_close(losses.dice, stored["loss_dice_empty_target"])


def test_point_losses(stored):
    points = stored["points_xy"]
    logits = stored["pred"][:, 0]
    torch.testing.assert_close(
        sample_points(logits, points), stored["points_pred"], atol=1e-5, rtol=1e-5
    )
    losses = point_mask_losses(logits, stored["gt_lowres"].float(), points)
    torch.testing.assert_close(losses.bce, stored["points_loss_mask"], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(losses.dice, stored["points_loss_dice"], atol=1e-6, rtol=1e-5)


def test_dice_by_hand():
    """Logits of +-50 are 1 and 0: p = (1, 1, 0, 0), t = (1, 0, 0, 0): 1 - (2 + 1) / (3 + 1)."""
    loss = dice_loss(torch.tensor([[50.0, 50.0, -50.0, -50.0]]), torch.tensor([[1.0, 0, 0, 0]]))
    torch.testing.assert_close(loss, torch.tensor([0.25]))


def test_uncertain_points_gather_at_the_boundary():
    """Logits change sign at x = 0.5; 0.75 of the points are the nearest third of candidates."""
    column = torch.linspace(-8, 8, 32).expand(1, 32, 32)
    points = choose_uncertain_points(column, 400, generator=torch.Generator().manual_seed(0))
    assert points.shape == (1, 400, 2)
    assert points.min() >= 0
    assert points.max() <= 1
    # 0.3 rather than 1/8 + a little: zero padding shrinks the logits of the outermost half cell
    assert (points[0, :300, 0] - 0.5).abs().max() < 0.3
    assert (points[0, 300:, 0] - 0.5).abs().max() > 0.4
