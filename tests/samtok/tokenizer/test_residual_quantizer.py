"""Residual quantizer against the published one's numbers, and what users rely on beyond them."""

import pytest
import torch

from samtok.tokenizer.residual_quantizer import ResidualQuantizer


@pytest.fixture(scope="module")
def stored(parity_fixtures):
    return {
        k: torch.from_numpy(v) for k, v in parity_fixtures.load_npz("small/quantizer.npz").items()
    }


def build(size=256, channels=256):
    return ResidualQuantizer(size=size, depth=2, channels=channels, decay=0.99, epsilon=1e-5)


def learn(quantizer, vectors):
    """One step of the moving averages, as training makes it."""
    quantized = quantizer(vectors)
    quantizer.update(quantized.residuals, quantized.codes, torch.Generator().manual_seed(0))


@pytest.fixture
def quantizer(parity_fixtures):
    """256 x 2 with the stand-in codebooks, in evaluation mode."""
    built = build()
    built.load_state_dict(
        {
            key.removeprefix("quantizer."): value
            for key, value in parity_fixtures.weights("small").items()
            if key.startswith("quantizer.")
        }
    )
    return built.eval()


def test_codes_vectors_and_commitment(quantizer, stored):
    quantized = quantizer(stored["rq_x"][:, 0])
    assert torch.equal(quantized.codes, stored["rq_codes"].reshape(-1, 2))
    torch.testing.assert_close(
        quantized.vectors, stored["rq_straight_through"].reshape(-1, 256), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(quantized.commitment, stored["rq_commit"].reshape(()).float())


def test_sums_of_rows(quantizer, stored):
    codes = stored["rq_codes"].reshape(-1, 2)
    both = quantizer.look_up(codes)
    torch.testing.assert_close(both, stored["rq_quant"].reshape(-1, 256), atol=1e-6, rtol=0)
    first_only = quantizer.look_up(torch.stack([codes[:, 0], torch.full((len(codes),), -1)], 1))
    torch.testing.assert_close(
        first_only, stored["rq_quant_first"].reshape(-1, 256), atol=1e-6, rtol=0
    )


def test_gradient_passes_straight_through(quantizer, stored):
    x = stored["rq_x"][:, 0].clone().requires_grad_()
    quantized = quantizer(x)
    (
        (quantized.vectors * stored["rq_grad_probe"].reshape(-1, 256)).sum() + quantized.commitment
    ).backward()
    torch.testing.assert_close(x.grad, stored["rq_grad"].reshape(-1, 256), atol=1e-6, rtol=1e-5)


def test_moving_average_step(quantizer, stored):
    learn(quantizer, stored["ema_x"][:, 0])
    for key, value in quantizer.state_dict().items():
        torch.testing.assert_close(value, stored[f"ema_after.{key}"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", ["restart_many", "restart_few"])
def test_dead_codes_restart_from_the_batch(case, stored, monkeypatch):
    """The random parts are pinned as when the numbers were made: identity order, noise 0.5."""
    monkeypatch.setattr(torch, "randperm", lambda n, **_: torch.arange(n))
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 0.5))
    prefix = f"{case}.before."
    quantizer = build(size=16, channels=8)
    quantizer.load_state_dict(
        {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
    )
    learn(quantizer, stored[f"{case}.x"].reshape(-1, 8))
    for key, value in quantizer.state_dict().items():
        torch.testing.assert_close(value, stored[f"{case}.after.{key}"], atol=1e-5, rtol=1e-5)


def test_quantizing_leaves_the_codebooks_alone(quantizer, stored):
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer.train()(stored["ema_x"][:, 0])
    for key, value in quantizer.state_dict().items():
        assert torch.equal(value, before[key])


def test_nearest_is_nearest():
    """Against distances computed one by one in float64."""
    torch.manual_seed(0)
    quantizer = build(size=16, channels=8).eval()
    x = torch.randn(50, 8)
    rows = quantizer.codebooks[0].weight[:16].double()
    expected = [min(range(16), key=lambda k: float((v.double() - rows[k]).norm())) for v in x]
    assert quantizer(x).codes[:, 0].tolist() == expected
