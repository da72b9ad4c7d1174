"""Residual vector quantization: one vector in, one code per codebook out.

Each codebook snaps what the ones before it left over (paper, section 3.1; residual quantization as
in RQ-VAE, arXiv 2203.01941). Codebooks learn by exponential moving averages, not by gradient;
codes that fall out of use restart from vectors of the batch.

Dimension letters: N vectors, C channels, K codebook entries, D codebooks.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import nn

from samtok.training.collectives import gather_rows, sum_over_processes

MISSING_CODE: Final = -1
_RESTART_NOISE: Final = 0.01


class Quantized(NamedTuple):
    """What a quantizer makes of N vectors."""

    codes: torch.Tensor
    """int64, shape (N, D), 0..K-1."""
    vectors: torch.Tensor
    """float32, shape (N, C): sum of the chosen rows; gradients pass straight to the input."""
    commitment: torch.Tensor
    """float32, scalar: mean over codebooks of the mean squared distance between the input and the
    sum of rows so far; the sums carry no gradient. No weight applied."""
    residuals: torch.Tensor
    """float32, shape (N, D, C): what each codebook was given to snap; no gradient."""


class Restarts(NamedTuple):
    """When a code counts as dead, and what a restarted one begins with.

    The published 1 and 1 fit its steps of 1,024 masks, of which a code gets 4 on average. A step of
    a few masks gives every code far less than 1: all of them would restart all the time.
    """

    below: float = 1.0
    """A code is dead where its running count, in vectors per step, falls below this."""
    size: float = 1.0
    """Running count that a restarted code begins with; above `below`, it has time to be found."""


PUBLISHED_RESTARTS: Final = Restarts()


class Codebook(nn.Module):
    """K vectors with the running statistics they are computed from.

    `weight` has one row more than there are codes: a padding row that the published weights carry
    and that nothing reads.
    """

    weight: torch.Tensor
    cluster_size_ema: torch.Tensor
    embed_ema: torch.Tensor

    def __init__(self, size: int, channels: int, *, decay: float, epsilon: float) -> None:
        super().__init__()
        rows = torch.randn(size + 1, channels)
        self.size = size
        self.decay = decay
        self.epsilon = epsilon
        self.register_buffer("weight", rows)
        self.register_buffer("cluster_size_ema", torch.ones(size))
        self.register_buffer("embed_ema", rows[:-1].clone())

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """Index of the closest row, by squared Euclidean distance; int64, shape (N,)."""
        rows = self.weight[:-1]
        distances = torch.addmm(
            vectors.square().sum(1, keepdim=True) + rows.square().sum(1),
            vectors,
            rows.t(),
            alpha=-2,
        )
        return distances.argmin(1)

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """Rows of `codes` (N,); zeros where a code is missing (-1). Float32, shape (N, C)."""
        rows = self.weight[codes.clamp_min(0)]
        return rows.masked_fill((codes == MISSING_CODE).unsqueeze(1), 0.0)

    @torch.no_grad()
    def update(
        self,
        vectors: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator,
        restarts: Restarts = PUBLISHED_RESTARTS,
    ) -> None:
        """Move the running statistics towards a batch, restart dead codes, recompute the rows.

        Statistics and the vectors that restarts choose from are those of all processes, so that
        every process ends with the same codebook, and as many processes as one likes with the
        codebook of one.

        Args:
            vectors: float32, shape (N, C), this process's part of the batch.
            codes: int64, shape (N,): the row chosen for each.
            generator: of the restarts; in the same state in every process.
            restarts: when a code counts as dead.
        """
        counts = torch.bincount(codes, minlength=self.size).to(vectors.dtype)
        sums = torch.zeros_like(self.embed_ema).index_add_(0, codes, vectors)
        self.cluster_size_ema.lerp_(sum_over_processes(counts), 1 - self.decay)
        self.embed_ema.lerp_(sum_over_processes(sums), 1 - self.decay)
        dead = self.cluster_size_ema < restarts.below
        if bool(dead.any()):
            candidates = self._draw_restart_candidates(gather_rows(vectors), generator)
            self.embed_ema[dead] = candidates[dead] * restarts.size
            self.cluster_size_ema[dead] = restarts.size
        self._recompute_rows()

    @torch.no_grad()
    def set_rows(self, rows: torch.Tensor, counts: torch.Tensor) -> None:
        """Start the codebook from given rows (K, C) that stand for `counts` (K,) vectors each."""
        self.weight[:-1] = rows
        self.cluster_size_ema.copy_(counts.clamp_min(1.0))
        self.embed_ema.copy_(rows * self.cluster_size_ema.unsqueeze(1))

    def _draw_restart_candidates(
        self, vectors: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """K vectors of the batch in random order; copies with a little noise where N < K."""
        device = vectors.device
        if len(vectors) < self.size:
            copies = -(-self.size // len(vectors))
            vectors = vectors.repeat(copies, 1)
            noise = torch.rand(vectors.shape, generator=generator, device=device)
            vectors = vectors + noise * (_RESTART_NOISE / vectors.shape[1] ** 0.5)
        order = torch.randperm(len(vectors), generator=generator, device=device)
        return vectors[order][: self.size]

    def _recompute_rows(self) -> None:
        total = self.cluster_size_ema.sum()
        smoothed = total * (self.cluster_size_ema + self.epsilon)
        smoothed /= total + self.size * self.epsilon
        self.weight[:-1] = self.embed_ema / smoothed.unsqueeze(1)


class ResidualQuantizer(nn.Module):
    """D codebooks, each quantizing the residual of those before it.

    A call changes nothing; :meth:`update` learns from what calls returned.

    Args:
        size: entries K per codebook.
        depth: codebooks D.
        channels: C.
        decay: of the running statistics, in (0, 1).
        epsilon: Laplace smoothing of cluster sizes.
    """

    def __init__(
        self, *, size: int, depth: int, channels: int, decay: float, epsilon: float
    ) -> None:
        super().__init__()
        self.codebooks = nn.ModuleList(
            Codebook(size, channels, decay=decay, epsilon=epsilon) for _ in range(depth)
        )

    def forward(self, vectors: torch.Tensor) -> Quantized:
        """Quantize float32 vectors of shape (N, C)."""
        residual = vectors.detach()
        total = torch.zeros_like(residual)
        codes, commitments, residuals = [], [], []
        for codebook in self.codebooks:
            assert isinstance(codebook, Codebook)
            chosen = codebook.nearest(residual)
            rows = codebook.look_up(chosen)
            residuals.append(residual)
            total = total + rows
            residual = residual - rows
            codes.append(chosen)
            commitments.append((vectors - total).square().mean())
        return Quantized(
            codes=torch.stack(codes, dim=1),
            vectors=vectors + (total - vectors).detach(),
            commitment=torch.stack(commitments).mean(),
            residuals=torch.stack(residuals, dim=1),
        )

    def update(
        self,
        residuals: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator,
        restarts: Restarts = PUBLISHED_RESTARTS,
    ) -> None:
        """One step of every codebook's moving averages; see :meth:`Codebook.update`.

        Args:
            residuals: float32, shape (N, D, C), as :class:`Quantized` gives them, all against the
                codebooks as they are now.
            codes: int64, shape (N, D).
            generator: of the restarts; in the same state in every process.
            restarts: when a code counts as dead.
        """
        for book, codebook in enumerate(self.codebooks):
            codebook.update(residuals[:, book], codes[:, book], generator, restarts)  # type: ignore[operator]

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """Sum of the rows of int64 codes (N, D); a missing code (-1) adds nothing.

        The published code decodes a missing second code as code 0; the first row alone is what its
        authors evidently meant, and what this returns.

        Returns:
            float32, shape (N, C).
        """
        return torch.stack(
            [book.look_up(column) for book, column in zip(self.codebooks, codes.t(), strict=True)]  # type: ignore[operator]
        ).sum(0)
