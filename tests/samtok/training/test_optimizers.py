"""Which weights go to which optimizer, and that both take part."""

import pytest
import torch
from torch import nn

from samtok.training.muon import Muon
from samtok.training.optimizers import OptimizerConfig, Optimizers, find_matrices


class _Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(32, 16)
        self.narrow = nn.Linear(32, 4)
        self.table = nn.Embedding(32, 32)
        self.frozen = nn.Linear(32, 32).requires_grad_(False)


def test_matrices_are_the_trainable_weights_of_wide_linear_layers():
    model = _Model()
    assert [id(p) for p in find_matrices(model)] == [id(model.wide.weight)]


def test_muon_and_adamw_share_a_step():
    torch.manual_seed(0)
    model = _Model()
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimizers = Optimizers(
        model, OptimizerConfig(name="muon", weight_decay=0.0, learning_rate=0.1)
    )
    x = torch.randn(256, 32)
    (model.wide(x).square().sum() + model.narrow(x).sum()).backward()
    optimizers.step(0.1)
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"wide.weight", "wide.bias", "narrow.weight", "narrow.bias"}
    # Muon's step is about a multiple of an orthogonal matrix: its singular values are alike.
    singular = torch.linalg.svdvals((model.wide.weight - before["wide.weight"]).detach())
    assert singular.max() / singular.min() < 3.0
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (32, 32)])
def test_muon_steps_as_torch_does(shape):
    """PyTorch's own rounds to bfloat16, so steps agree to a hundredth."""
    torch.manual_seed(0)
    start, gradients = torch.randn(shape), [torch.randn(shape) for _ in range(4)]
    ends = []
    for kind, options in ((Muon, {}), (torch.optim.Muon, {"adjust_lr_fn": "match_rms_adamw"})):
        matrix = nn.Parameter(start.clone())
        optimizer = kind([matrix], lr=0.1, weight_decay=0.2, **options)
        for gradient in gradients:
            matrix.grad = gradient.clone()
            optimizer.step()
        ends.append(matrix.detach())
    ours, theirs = ends
    assert (ours - theirs).norm() < 0.02 * (theirs - start).norm()
