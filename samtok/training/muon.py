"""Muon: momentum whose update is made orthogonal, for weight matrices.

Keller Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon/); the size of updates is
matched to AdamW's as in arXiv 2502.16982, section 2.2. Other than ``torch.optim.Muon`` it
orthogonalizes in float32 on CPUs, many of which multiply several times slower in bfloat16, and
processes that train together share the work out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from samtok.training.collectives import num_processes, process_rank, sum_over_processes
from samtok.training.lanes import deal_evenly

_STEPS: Final = 5
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_SIZE: Final = 0.2
"""Root mean square of AdamW's updates, about."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized.

    Args:
        matrices: weights of two dimensions. Those of processes that train together are the same,
            and so are their gradients at a step; or each process holds its part (DTensor).
        lr: learning rate.
        weight_decay: decoupled.
        momentum: share of the past in the momentum, in [0, 1).
    """

    def __init__(
        self, matrices: Iterable[Tensor], *, lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(matrices, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step along the gradients; matrices without one stay."""
        for group in self.param_groups:
            matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
            directions = [self._direction(matrix, group["momentum"]) for matrix in matrices]
            for matrix, update in zip(matrices, _orthogonalize_all(directions), strict=True):
                size = _SIZE * math.sqrt(max(matrix.shape))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * size)

    def _direction(self, matrix: Tensor, momentum: float) -> Tensor:
        gradient, state = matrix.grad, self.state[matrix]
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["momentum_buffer"], momentum)


def orthogonalize(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix, about: singular values come out between 0.5 and 1.5.

    Five Newton-Schulz steps of the fifth order.

    Args:
        matrix: shape (M, N).

    Returns:
        Shape (M, N), the same dtype.
    """
    a, b, c = _COEFFICIENTS
    x = matrix.bfloat16() if matrix.device.type == "cuda" else matrix.float()
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    return x.to(matrix.dtype)


def _orthogonalize_all(matrices: Sequence[Tensor]) -> list[Tensor]:
    is_dealt_out = any(isinstance(matrix, DTensor) for matrix in matrices)
    if not matrices or num_processes() == 1 or is_dealt_out:
        return [orthogonalize(matrix) for matrix in matrices]
    costs = [math.prod(matrix.shape) * min(matrix.shape) for matrix in matrices]
    own = deal_evenly(costs, num_processes())[process_rank()]
    flat = torch.cat(
        [
            (orthogonalize(matrix) if position in own else torch.zeros_like(matrix)).flatten()
            for position, matrix in enumerate(matrices)
        ]
    )
    parts = sum_over_processes(flat).split([matrix.numel() for matrix in matrices])
    return [part.view_as(matrix) for part, matrix in zip(parts, matrices, strict=True)]
