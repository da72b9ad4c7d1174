"""Which weights go to which optimizer, and that both take part."""

import torch
from torch import nn

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
