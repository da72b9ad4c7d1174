"""What a frozen vision tower made of images, kept for those that come again.

A tower and mergers that do not learn make the same of an image every time, and a fine-tuning on a
few thousand images sees each of them many times.

Letters: L levels of features (the pooled ones, then those of deepstack), T tokens of an image, D
width of the language model.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import torch

from samtok.recently_used import RecentlyUsed


def cache_images(visual: Any, max_bytes: int) -> None:
    """Make a vision tower remember what it made of each image.

    Its output then lacks ``last_hidden_state``, which the models do not read.

    Args:
        visual: tower of either family, changed in place; nothing in it may learn.
        max_bytes: of what is kept, on the tower's device; the least recently used goes first.
    """
    visual.forward = _CachedForward(visual.forward, visual.spatial_merge_size**2, max_bytes)


class _CachedForward:
    """Takes and gives what the forward pass of the tower does.

    Args:
        forward: of the tower.
        patches_per_token: of an image.
        max_bytes: see :func:`cache_images`.
    """

    def __init__(self, forward: Callable[..., Any], patches_per_token: int, max_bytes: int) -> None:
        self._forward = forward
        self._patches_per_token = patches_per_token
        self._kept: RecentlyUsed[bytes, torch.Tensor] = RecentlyUsed(
            max_bytes, lambda features: features.nbytes
        )
        self._output_type: type[Any]

    def __call__(self, patches: torch.Tensor, grid_thw: torch.Tensor, **options: Any) -> Any:
        images = patches.split(grid_thw.prod(1).tolist())
        keys = [_key(image, grid) for image, grid in zip(images, grid_thw, strict=True)]
        found = {key: kept for key in keys if (kept := self._kept.get(key)) is not None}
        new = {key: place for place, key in enumerate(keys) if key not in found}
        if new:
            chosen = torch.cat([images[place] for place in new.values()])
            made = self._look(chosen, grid_thw[list(new.values())], options)
            for key, features in zip(new, made, strict=True):
                found[key] = features
                self._kept.keep(key, features.clone())  # a view would keep the whole batch
        pooled, *deeper = torch.cat([found[key] for key in keys], dim=1)
        levels = {"deepstack_features": deeper} if deeper else {}
        return self._output_type(pooler_output=pooled, **levels)

    def _look(
        self, patches: torch.Tensor, grid_thw: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, ...]:
        """Features of images, shape (L, T, D) each."""
        with torch.no_grad():
            output = self._forward(patches, grid_thw=grid_thw, **options)
        self._output_type = type(output)
        deeper = getattr(output, "deepstack_features", None) or []
        levels = torch.stack([output.pooler_output, *deeper])
        return levels.split((grid_thw.prod(1) // self._patches_per_token).tolist(), dim=1)


def _key(image: torch.Tensor, grid: torch.Tensor) -> bytes:
    """Of an image's patches, its shape, and what it is computed in."""
    name = blake2b(repr((grid.tolist(), _compute_dtype(image))).encode(), digest_size=16)
    name.update(image.contiguous().view(torch.uint8).cpu().numpy().data)
    return name.digest()


def _compute_dtype(image: torch.Tensor) -> torch.dtype:
    kind = image.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else image.dtype
