"""The policy loss: by hand, by loops, by finite differences, and against TRL's."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from samtok.errors import ConfigError
from samtok.grpo.advantages import compute_group_advantages
from samtok.grpo.logprobs import selected_logprobs
from samtok.grpo.policy_loss import PolicyLossConfig, estimate_kl, policy_loss

TRL = np.load(Path(__file__).parents[2] / "fixtures" / "grpo" / "trl.npz")


def one_token(ratio, advantage, **options):
    """Loss and gradient of the log-probability of a single token."""
    logprobs = torch.tensor([[math.log(0.3 * ratio)]], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([[math.log(0.3)]], dtype=torch.float64)
    mask = torch.ones(1, 1, dtype=torch.bool)
    result = policy_loss(
        logprobs, old, torch.tensor([float(advantage)]), mask, PolicyLossConfig(**options)
    )
    result.loss.backward()
    return result, logprobs.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient", "clipped"),
    [
        (1.0, 2, -2.0, -2.0, (0, 0)),
        (1.1, 2, -2.2, -2.2, (0, 0)),
        (1.5, 2, -2.56, 0.0, (0, 1)),  # (1 + 0.28) · 2
        (0.5, 2, -1.0, -1.0, (0, 0)),  # fallen, but good: it may rise again
        (0.5, -2, 1.6, 0.0, (1, 0)),  # (1 - 0.2) · 2
        (1.5, -2, 3.0, 3.0, (0, 0)),  # risen, but bad: it may fall again
    ],
)
def test_the_ratio_is_clipped_where_it_would_earn_more(ratio, advantage, loss, gradient, clipped):
    result, found = one_token(ratio, advantage, clip_low=0.2, clip_high=0.28)
    assert result.loss.item() == pytest.approx(loss)
    assert found == pytest.approx(gradient)
    assert (result.num_clipped_low.item(), result.num_clipped_high.item()) == clipped


@pytest.mark.parametrize(
    "name", ["sequence", "sequence_kl", "sequence_asymmetric", "token", "token_kl_asymmetric"]
)
def test_loss_and_gradient_equal_trls(name):
    kl_weight, clip_low, clip_high = TRL[f"{name}.options"].tolist()
    config = PolicyLossConfig(
        clip_low=clip_low,
        clip_high=clip_high,
        kl_weight=kl_weight,
        averaging="sequence" if name.startswith("sequence") else "token",
    )
    mask = torch.from_numpy(TRL["mask"])
    logits = torch.from_numpy(TRL["logits"]).requires_grad_()
    rows = selected_logprobs(
        logits.flatten(0, 1),
        torch.nn.Identity(),
        torch.from_numpy(TRL["token_ids"]).flatten(),
        chunk_size=7,
    )
    advantages = compute_group_advantages(torch.from_numpy(TRL["rewards"]), normalize_by_std=True)
    result = policy_loss(
        rows.logprobs.view(mask.shape),
        torch.from_numpy(TRL["old_logprobs"]),
        advantages.advantages.flatten(),
        mask,
        config,
        reference_logprobs=torch.from_numpy(TRL["reference_logprobs"]),
    )
    result.loss.backward()
    assert result.loss.item() == pytest.approx(TRL[f"{name}.loss"].item(), rel=1e-5)
    np.testing.assert_allclose(logits.grad.numpy(), TRL[f"{name}.gradient"], rtol=1e-4, atol=1e-7)
    tokens = result.num_tokens.item()
    assert tokens == 32
    found = {
        "clip_ratio_low_mean": result.num_clipped_low.item() / tokens,
        "clip_ratio_high_mean": result.num_clipped_high.item() / tokens,
        "entropy": rows.entropy.view(mask.shape)[mask].mean().item(),
    }
    if kl_weight:
        found["kl"] = result.kl_sum.item() / tokens
    for key, value in found.items():
        assert value == pytest.approx(TRL[f"{name}.{key}"].item(), rel=1e-5)


def make_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (4, 6)
    logprobs = -torch.rand(shape, generator=generator, dtype=torch.float64) - 0.1
    return {
        "logprobs": logprobs,
        "old_logprobs": logprobs + 0.4 * torch.randn(shape, generator=generator).double(),
        "advantages": torch.randn(4, generator=generator).double(),
        "mask": torch.arange(6) < torch.tensor([6, 2, 0, 5])[:, None],
        "reference_logprobs": logprobs + 0.4 * torch.randn(shape, generator=generator).double(),
    }


@pytest.mark.parametrize("averaging", ["token", "sequence"])
def test_loss_equals_a_loop(averaging):
    batch = make_batch()
    config = PolicyLossConfig(clip_low=0.1, clip_high=0.3, kl_weight=0.2, averaging=averaging)
    sums, lengths = [], []
    for n in range(4):
        total, length = 0.0, 0
        for position in range(6):
            if not batch["mask"][n, position]:
                continue
            new, old, reference = (
                batch[key][n, position].item()
                for key in ("logprobs", "old_logprobs", "reference_logprobs")
            )
            ratio, gain = math.exp(new - old), batch["advantages"][n].item()
            total -= min(ratio * gain, min(max(ratio, 0.9), 1.3) * gain)
            total += 0.2 * (math.exp(reference - new) - (reference - new) - 1)
            length += 1
        sums.append(total)
        lengths.append(length)
    if averaging == "token":
        expected = sum(sums) / sum(lengths)
    else:
        expected = sum(s / max(n, 1) for s, n in zip(sums, lengths, strict=True)) / 4
    assert policy_loss(**batch, config=config).loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("averaging", ["token", "sequence"])
def test_gradient_equals_finite_differences(averaging):
    batch = make_batch(1)
    config = PolicyLossConfig(kl_weight=0.3, averaging=averaging)
    logprobs = batch.pop("logprobs").requires_grad_()

    def loss(values):
        return policy_loss(values, **batch, config=config).loss

    assert torch.autograd.gradcheck(loss, (logprobs,))


@pytest.mark.parametrize("averaging", ["token", "sequence"])
def test_micro_batches_add_up_to_the_batch(averaging):
    batch = make_batch(2)
    config = PolicyLossConfig(kl_weight=0.1, averaging=averaging)
    whole = policy_loss(**batch, config=config)
    divisor = 13 if averaging == "token" else 4  # 6 + 2 + 0 + 5 tokens
    parts = [
        policy_loss(**{k: v[rows] for k, v in batch.items()}, config=config, divisor=divisor)
        for rows in (slice(0, 1), slice(1, 4))
    ]
    assert sum(part.loss for part in parts).item() == pytest.approx(whole.loss.item())
    assert sum(part.kl_sum for part in parts).item() == pytest.approx(whole.kl_sum.item())
    assert sum(part.num_tokens for part in parts) == whole.num_tokens == 13


def test_padding_does_not_matter():
    batch = make_batch(3)
    config = PolicyLossConfig(kl_weight=0.1)
    other = {k: v.clone() for k, v in batch.items()}
    for key in ("logprobs", "old_logprobs", "reference_logprobs"):
        other[key][~batch["mask"]] = -700.0
    other["old_logprobs"][~batch["mask"]] = 0.0
    other["logprobs"][~batch["mask"]] = 700.0
    ours, theirs = policy_loss(**batch, config=config), policy_loss(**other, config=config)
    assert ours.loss == theirs.loss
    assert ours.kl_sum == theirs.kl_sum


def test_the_divergence_is_estimated_without_bias_and_never_negative():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.4, 0.4, 0.2])
    estimates = estimate_kl(policy.log(), reference.log())
    assert bool((estimates > 0).all())
    exact = (policy * (policy / reference).log()).sum()
    assert (policy * estimates).sum().item() == pytest.approx(exact.item())
    assert estimate_kl(policy.log(), policy.log()).tolist() == [0, 0, 0]


def test_without_weight_the_divergence_is_only_measured():
    batch = make_batch(4)
    measured = policy_loss(**batch, config=PolicyLossConfig())
    reference = batch.pop("reference_logprobs")
    without = policy_loss(**batch, config=PolicyLossConfig())
    assert measured.loss == without.loss
    assert without.kl_sum == 0
    expected = estimate_kl(batch["logprobs"], reference)[batch["mask"]].sum()
    assert measured.kl_sum.item() == pytest.approx(expected.item())


def test_a_step_down_the_loss_makes_the_better_response_likelier():
    logits = torch.zeros(2, 3, requires_grad=True)
    ids = torch.tensor([[0], [1]])
    before = logits.log_softmax(1).gather(1, ids).detach()
    loss = policy_loss(
        logits.log_softmax(1).gather(1, ids),
        before,
        torch.tensor([1.0, -1.0]),
        torch.ones(2, 1, dtype=torch.bool),
        PolicyLossConfig(),
    ).loss
    loss.backward()
    after = (logits - 0.1 * logits.grad).log_softmax(1).gather(1, ids)
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_a_weight_needs_a_reference_and_shapes_must_fit():
    batch = make_batch()
    reference = batch.pop("reference_logprobs")
    with pytest.raises(ValueError, match="reference"):
        policy_loss(**batch, config=PolicyLossConfig(kl_weight=0.1))
    with pytest.raises(ValueError, match=r"\(N, L\)"):
        policy_loss(**batch, config=PolicyLossConfig(), reference_logprobs=reference[:1])
    batch["advantages"] = batch["advantages"][:, None]
    with pytest.raises(ValueError, match=r"\(N,\)"):
        policy_loss(**batch, config=PolicyLossConfig())


@pytest.mark.parametrize(
    "option",
    [{"clip_low": 0}, {"clip_low": 1.5}, {"clip_high": 0}, {"kl_weight": -1}],
)
def test_bad_options_are_refused(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        PolicyLossConfig(**option)
