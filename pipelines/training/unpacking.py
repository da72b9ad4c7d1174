"""From rows of the loading stage to the tensors of a training step.

Letters: L side of the network input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from samtok.tokenizer.network import ImageFeatures
from samtok.tokenizer.training import TrainingBatch, collate_masks


def unpack_batch(
    row: dict[str, Any], image_size: int, map_shapes: Sequence[tuple[int, ...]]
) -> TrainingBatch:
    """A row of `MICRO_BATCH` as a training step takes it.

    Args:
        row: of the loading stage.
        image_size: L.
        map_shapes: (channels, rows, columns) of the image, fine and middle map.
    """
    masks = []
    for packed, number, height, width in zip(
        row["masks"], row["num_masks"], row["heights"], row["widths"], strict=True
    ):
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=number * height * width)
        masks.append(bits.reshape(number, height, width).astype(bool))
    batch = collate_masks(masks, image_size)
    if row["pixels"] is not None:
        pixels = np.frombuffer(row["pixels"], np.uint8).reshape(-1, image_size, image_size, 3)
        return batch._replace(images=torch.from_numpy(pixels.copy()))
    levels = [
        torch.from_numpy(np.frombuffer(content, np.float16).reshape(-1, *shape).copy())
        for content, shape in zip(row["maps"], map_shapes, strict=True)
    ]
    return batch._replace(features=ImageFeatures(*levels))
