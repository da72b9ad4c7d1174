"""The mask encoder: image embedding, mask prompt and box corners in, one vector per mask out.

A two-way transformer of the mask decoder's layout with one learned mask token and nothing else
(paper, section 3.1).
"""

from __future__ import annotations

import torch
from torch import nn


class MaskEncoder(nn.Module):
    """Reads a mask into the vector that the residual quantizer snaps to codes.

    Args:
        d_model: channels C.
        transformer: a two-way transformer over (image, image positions, tokens).
    """

    def __init__(self, d_model: int, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.mask_tokens = nn.Embedding(1, d_model)

    def forward(
        self,
        image_embedding: torch.Tensor,
        image_positions: torch.Tensor,
        sparse_prompt: torch.Tensor,
        dense_prompt: torch.Tensor,
    ) -> torch.Tensor:
        """Embed N masks.

        Args:
            image_embedding: shape (N, C, h, w); one row per mask.
            image_positions: shape (1, C, h, w), the dense positional encoding.
            sparse_prompt: shape (N, P, C): box corners and padding.
            dense_prompt: shape (N, C, h, w): downscaled mask.

        Returns:
            Shape (N, C): the output at the mask token.
        """
        mask_token = self.mask_tokens.weight.expand(len(sparse_prompt), -1, -1)
        tokens = torch.cat([mask_token, sparse_prompt], dim=1)
        positions = image_positions.expand(len(tokens), -1, -1, -1)
        queries, _ = self.transformer(image_embedding + dense_prompt, positions, tokens)
        return queries[:, 0]
