"""Optimizers that step together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from samtok.training.muon import Muon
from samtok.training.sharding import deal_out

_SMALLEST_MATRIX = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """Which optimizer, and its constants."""

    name: Literal["adamw", "muon"]
    """adamw, or muon for the weight matrices of linear layers and adamw for the rest."""
    learning_rate: float
    """Peak learning rate of both."""
    weight_decay: float
    """Decoupled weight decay of both."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW."""


class Optimizers:
    """One or two optimizers that step together.

    AdamW alone, or Muon for the weight matrices of linear layers and AdamW for the rest. Muon's
    updates are about as large as AdamW's, so that both follow one learning rate.

    Args:
        module: whose trainable weights are optimized.
        config: settings.
        tables: weights that AdamW keeps even where a linear layer holds them, e.g. of a head.
    """

    def __init__(
        self, module: nn.Module, config: OptimizerConfig, *, tables: Iterable[torch.Tensor] = ()
    ) -> None:
        rate, decay = config.learning_rate, config.weight_decay
        ids = {id(table) for table in tables}
        matrices = find_matrices(module) if config.name == "muon" else []
        matrices = [matrix for matrix in matrices if id(matrix) not in ids]
        ids = {id(matrix) for matrix in matrices}
        rest = [p for p in module.parameters() if p.requires_grad and id(p) not in ids]
        self.parameters = [*matrices, *rest]
        self._members: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=rate, betas=config.betas, weight_decay=decay)
        ]
        if matrices:
            self._members.append(Muon(matrices, lr=rate, weight_decay=decay))

    def step(self, learning_rate: float) -> None:
        """Step with this learning rate and clear the gradients."""
        for member in self._members:
            for group in member.param_groups:
                group["lr"] = learning_rate
            member.step()
            member.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """State of each member."""
        return [member.state_dict() for member in self._members]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Take over the states of :meth:`state_dict`; whole tensors are dealt out."""
        for member, state in zip(self._members, states, strict=True):
            member.load_state_dict(state)
            for weight, entries in member.state.items():
                entries |= {
                    name: deal_out(value, weight)
                    for name, value in entries.items()
                    if isinstance(value, torch.Tensor)
                }


def find_matrices(module: nn.Module) -> list[torch.Tensor]:
    """Trainable weights of linear layers with at least 16 rows and columns."""
    return [
        layer.weight
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
        and layer.weight.requires_grad
        and min(layer.weight.shape) >= _SMALLEST_MATRIX
    ]
