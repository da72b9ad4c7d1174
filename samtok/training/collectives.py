"""Sums and gathers over the processes of a training; with one process they give back their input.

Letters: N rows, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F


def num_processes() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_rank() -> int:
    """Position of this process among them, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Elementwise sum over all processes, the same in each; may write into `tensor`."""
    if num_processes() > 1:
        dist.all_reduce(tensor)
    return tensor


def gather_items(own: list[Any]) -> list[Any]:
    """The lists of all processes, joined in the order of their ranks, the same in each."""
    if num_processes() == 1:
        return own
    parts: list[list[Any]] = [[] for _ in range(num_processes())]
    dist.all_gather_object(parts, own)
    return [item for part in parts for item in part]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows of all processes, in the order of their ranks, the same in each.

    Args:
        rows: shape (N, C); N may differ between processes and may be 0.

    Returns:
        Shape (sum of N, C).
    """
    if num_processes() == 1:
        return rows
    counts = torch.zeros(num_processes(), dtype=torch.long, device=rows.device)
    counts[process_rank()] = len(rows)
    sizes = sum_over_processes(counts).tolist()
    padded = F.pad(rows, (0, 0, 0, max(sizes) - len(rows))).contiguous()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
