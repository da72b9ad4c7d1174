"""K-means, to start codebooks from data."""

from __future__ import annotations

import torch


@torch.no_grad()
def cluster(
    vectors: torch.Tensor, num_clusters: int, *, num_rounds: int = 25, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lloyd's algorithm from random vectors; empty clusters restart from the worst-fitted ones.

    Args:
        vectors: float32, shape (N, C), N >= `num_clusters`.
        num_clusters: K.
        num_rounds: assignment-and-mean rounds.
        generator: source of randomness, on the vectors' device.

    Returns:
        Centres, float32, shape (K, C), and how many vectors each stands for, shape (K,).

    Raises:
        ValueError: fewer vectors than clusters.
    """
    if len(vectors) < num_clusters:
        raise ValueError(f"{len(vectors)} vectors cannot start {num_clusters} clusters")
    order = torch.randperm(len(vectors), generator=generator, device=vectors.device)
    centres = vectors[order[:num_clusters]].clone()
    for _ in range(num_rounds):
        distances, nearest = torch.cdist(vectors, centres).min(1)
        counts = torch.bincount(nearest, minlength=num_clusters)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = sums / counts.clamp_min(1).unsqueeze(1)
        empty = counts == 0
        centres[empty] = vectors[distances.topk(int(empty.sum())).indices]
    nearest = torch.cdist(vectors, centres).argmin(1)
    return centres, torch.bincount(nearest, minlength=num_clusters).to(vectors.dtype)
