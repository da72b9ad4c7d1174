"""One pass through SAM 2.1's image encoder, written for few and small operations.

Computes what the public Hiera trunk, neck and mask-decoder projections compute, from their own
modules and weights, for one image as cheaply per image as for a batch: on small images a pass is as
long as its launches and copies. Maps stay channels-last until the end, so that projections are
plain matrix products; windows are cut and laid back without intermediate copies; pooling compares
neighbours instead of tracking indices.

Letters: B images, H W rows and columns of tokens, C channels, w side of a window, G windows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def divides_evenly(block: Any, tokens: torch.Tensor) -> bool:
    """Whether the windows of a block divide a map (B, H, W, C) without padding."""
    side = block.window_size
    return side == 0 or (tokens.shape[1] % side == 0 and tokens.shape[2] % side == 0)


def run_block(block: Any, tokens: torch.Tensor) -> torch.Tensor:
    """One of Hiera's blocks on a map that its windows divide evenly.

    Args:
        block: sam2's ``MultiScaleBlock``.
        tokens: shape (B, H, W, C), contiguous; H and W are multiples of the window's side.

    Returns:
        Shape (B, H, W, C), or (B, H/2, W/2, 2C) where the block pools.
    """
    batch, height, width, _ = tokens.shape
    side, pools = block.window_size, block.q_stride is not None
    shortcut, tokens = tokens, block.norm1(tokens)
    if block.dim != block.dim_out:
        shortcut = block.proj(tokens)
        shortcut = pool(shortcut) if pools else shortcut
    window = (side, side) if side else (height, width)
    rows, columns = height // window[0], width // window[1]
    cut = tokens.view(batch, rows, window[0], columns, window[1], -1).transpose(2, 3)
    attended = _attend(block.attn, cut.reshape(-1, *window, block.dim), pools)
    if pools:
        window = (window[0] // 2, window[1] // 2)
    laid = attended.view(batch, rows, columns, *window, -1).transpose(2, 3)
    tokens = shortcut + laid.reshape(shortcut.shape)
    return tokens + block.mlp(block.norm2(tokens))


def pool(tokens: torch.Tensor) -> torch.Tensor:
    """Maximum over squares of two by two; shape (B, H, W, C) to (B, H/2, W/2, C)."""
    batch, height, width, channels = tokens.shape
    squares = tokens.reshape(batch, height // 2, 2, width // 2, 2, channels)
    lines = torch.maximum(squares[:, :, 0], squares[:, :, 1])
    return torch.maximum(lines[:, :, :, 0], lines[:, :, :, 1])


def project(convolution: nn.Conv2d, tokens: torch.Tensor) -> torch.Tensor:
    """A convolution of one pixel as a matrix product, channels last."""
    return F.linear(tokens, convolution.weight.flatten(1), convolution.bias)


def project_twice(first: nn.Conv2d, second: nn.Conv2d, tokens: torch.Tensor) -> torch.Tensor:
    """Two convolutions of one pixel after each other, channels last, as one matrix product.

    The map between them is the largest of the whole pass, and nothing else reads it.
    """
    assert first.bias is not None
    outer = second.weight.flatten(1)
    weight = outer @ first.weight.flatten(1)
    return F.linear(tokens, weight, F.linear(first.bias, outer, second.bias))


def double_size(tokens: torch.Tensor) -> torch.Tensor:
    """Each token four times; shape (B, H, W, C) to (B, 2H, 2W, C)."""
    batch, height, width, channels = tokens.shape
    repeated = tokens[:, :, None, :, None].expand(batch, height, 2, width, 2, channels)
    return repeated.reshape(batch, 2 * height, 2 * width, channels)


def channels_first(tokens: torch.Tensor) -> torch.Tensor:
    """Shape (B, H, W, C) to (B, C, H, W), contiguous."""
    return tokens.permute(0, 3, 1, 2).contiguous()


def _attend(attention: Any, windows: torch.Tensor, pools: bool) -> torch.Tensor:
    """Attention inside each window, shape (G, w, w, C); queries are pooled where asked."""
    count, height, width, _ = windows.shape
    heads = attention.num_heads
    queries, keys, values = attention.qkv(windows).chunk(3, dim=-1)
    if pools:
        queries = pool(queries)
    attended = F.scaled_dot_product_attention(
        queries.reshape(count, -1, heads, queries.shape[-1] // heads).transpose(1, 2),
        keys.reshape(count, height * width, heads, -1).transpose(1, 2),
        values.reshape(count, height * width, heads, -1).transpose(1, 2),
    )
    return attention.proj(attended.transpose(1, 2).reshape(*queries.shape))
