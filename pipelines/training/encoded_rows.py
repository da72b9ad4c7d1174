"""Encoded conversations on their way from loading workers to the training: bytes and back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch

from samtok.mllm.collate import EncodedExample

_INTEGERS: Final = ("input_ids", "labels", "position_ids", "image_grid_thw", "branches")
_PIXELS: Final = "pixel_values"

ENCODED: Final = pa.struct([(name, pa.large_binary()) for name in (*_INTEGERS, _PIXELS)])
"""int32 token ids, labels, positions (3, S), grid (1, 3) and branches, and float32 pixel values."""


def to_row(example: EncodedExample) -> dict[str, bytes]:
    """A row of `ENCODED`."""
    integers = {
        name: getattr(example, name).numpy().astype(np.int32).tobytes() for name in _INTEGERS
    }
    return {**integers, _PIXELS: example.pixel_values.numpy().tobytes()}


def from_row(row: dict[str, Any]) -> EncodedExample:
    """The conversation of a row of `ENCODED`."""
    ids, labels, positions, grid, branches = (
        torch.from_numpy(np.frombuffer(row[name], np.int32).astype(np.int64)) for name in _INTEGERS
    )
    pixels = torch.from_numpy(np.frombuffer(row[_PIXELS], np.float32).copy())
    return EncodedExample(
        input_ids=ids,
        labels=labels,
        position_ids=positions.view(3, -1),
        pixel_values=pixels.view(int(grid.prod()), -1),
        image_grid_thw=grid.view(1, 3),
        branches=branches,
    )
