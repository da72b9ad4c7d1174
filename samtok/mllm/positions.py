"""Multimodal rotary positions (M-RoPE) of Qwen2.5-VL and Qwen3-VL, for texts with images.

Text counts up by one in all three rows. An image's tokens share their time, count rows and columns
of the merged grid from where the text stopped, and the text goes on after the longer side (M-RoPE,
arXiv 2409.12191, section 2.1). Computed here, by the CPU worker that prepares a row, because packed
sequences start anew in the middle of a row, which the models' own `get_rope_index` does not know.

Letters: S tokens, I images.
"""

from __future__ import annotations

import torch


def find_positions(
    input_ids: torch.Tensor, image_token_id: int, grids: torch.Tensor, merge_size: int
) -> torch.Tensor:
    """Positions of one sequence.

    Args:
        input_ids: int64, shape (S,), image placeholders expanded; images are apart by a token.
        image_token_id: of the placeholder.
        grids: int64, shape (I, 3): time, height, width in patches, in order of appearance.
        merge_size: patches per side that become one token.

    Returns:
        int64, shape (3, S): time, height, width.

    Raises:
        ValueError: placeholders are fewer or more than the grids say.
    """
    is_image = input_ids == image_token_id
    cells = [(int(t), int(h) // merge_size, int(w) // merge_size) for t, h, w in grids]
    if int(is_image.sum()) != sum(t * h * w for t, h, w in cells):
        raise ValueError(f"{int(is_image.sum())} image tokens do not fill grids of {cells}")
    parts, done, position = [], 0, 0
    for time, height, width in cells:
        start = done + int(is_image[done:].to(torch.uint8).argmax())
        parts.append(_count_up(start - done, position))
        position += start - done
        grid = torch.meshgrid(
            torch.arange(time), torch.arange(height), torch.arange(width), indexing="ij"
        )
        parts.append(torch.stack(grid).flatten(1) + position)
        position += max(height, width)
        done = start + time * height * width
    parts.append(_count_up(len(input_ids) - done, position))
    return torch.cat(parts, dim=1)


def _count_up(length: int, start: int) -> torch.Tensor:
    return torch.arange(start, start + length).expand(3, -1)
