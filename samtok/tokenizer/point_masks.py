"""A mask from points on a thing, found by the tokenizer itself.

A disc around the points is encoded as if it were a mask, and what is decoded is encoded again:
with each pass it comes closer to a thing that two words can say. Discs of several sizes end in
different things, a wheel and its car, and of all that was decoded the one is kept that has most
points on their sides and then agrees best with the others, weighted by the decoder's confidence.
How good it is: `tests/benchmarks/points.py`. SAM 2's own prompt decoder needs weights trained for
points, which a tokenizer trained from scratch lacks.

Letters: P points, R discs, S candidates, H W pixels.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from samtok.tokenizer.embeddings import ImageEmbeddings
from samtok.tokenizer.mask_tokenizer import SAMTok

_RADII: Final = (0.04, 0.06, 0.1, 0.14, 0.2)
"""Of the discs, as shares of the longer side."""
_NUM_PASSES: Final = 3
_COMPARED_SIDE: Final = 256
"""Candidates are compared on so many pixels of the longer side."""


def find_mask_at_points(
    tokenizer: SAMTok, embeddings: ImageEmbeddings, points: np.ndarray, is_inside: np.ndarray
) -> np.ndarray:
    """The thing that has the points, as a mask.

    Args:
        tokenizer: any.
        embeddings: of one image.
        points: shape (P, 2), x and y in pixels within the image.
        is_inside: bool, shape (P,): whether the thing has the point, or leaves it out; one or more
            is inside.

    Returns:
        bool, shape (H, W), never empty.
    """
    height, width = embeddings.sizes[0]
    masks = _draw_discs(height, width, points, is_inside)
    candidates, confidence = [], []
    for _ in range(_NUM_PASSES):
        codes = tokenizer.encode(embeddings, masks).tolist()
        decoded, overlap = tokenizer.decode_with_confidence(embeddings, codes)
        found = decoded.numpy()
        is_empty = ~found.any(axis=(1, 2))
        found[is_empty] = masks[is_empty]
        candidates.append(found)
        confidence.append(overlap.numpy())
        masks = found
    every = np.concatenate(candidates)
    step = max(1, max(height, width) // _COMPARED_SIDE)
    agreement = _compare_all(every[:, ::step, ::step])
    score = agreement * np.concatenate(confidence)
    columns, rows = points.astype(int).T
    num_right = (every[:, rows, columns] == is_inside).sum(axis=1)
    found_best: np.ndarray = every[np.lexsort((score, num_right))[-1]]
    return found_best


def _draw_discs(height: int, width: int, points: np.ndarray, is_inside: np.ndarray) -> np.ndarray:
    """Discs around the points inside, of each size, without what is nearer to one outside.

    Returns:
        bool, shape (R, H, W).
    """
    distance = _measure_distance(height, width, points[is_inside])
    is_nearer = distance <= _measure_distance(height, width, points[~is_inside])
    longer = max(height, width)
    return np.stack([is_nearer & (distance <= max(1.0, share * longer)) for share in _RADII])


def _measure_distance(height: int, width: int, points: np.ndarray) -> np.ndarray:
    """From each pixel to the nearest point, in pixels; infinite without points."""
    nearest = np.full((height, width), np.inf, dtype=np.float32)
    for x, y in points.astype(int):
        rows, columns = np.ogrid[-y : height - y, -x : width - x]
        nearest = np.minimum(nearest, np.hypot(rows, columns))
    return nearest


def _compare_all(masks: np.ndarray) -> np.ndarray:
    """Mean IoU of each mask with all; float32, shape (S,), 0..1."""
    pixels = masks.reshape(len(masks), -1).astype(np.float32)
    shared = pixels @ pixels.T
    areas = shared.diagonal()
    union = areas[:, None] + areas - shared
    mean: np.ndarray = (shared / np.maximum(union, 1)).mean(axis=1)
    return mean
