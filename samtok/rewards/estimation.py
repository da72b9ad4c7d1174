"""Estimating the table of expected IoU with a tokenizer and images.

Letters: N masks, H W pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import numpy as np

from samtok.metrics.segmentation import pairwise_iou
from samtok.rewards.similarity import ExpectedIouTally
from samtok.tokenizer.image_transform import ImageInput
from samtok.tokenizer.mask_tokenizer import Masks, SAMTok

_POOL_SIZE: Final = 4096


def tally_overlaps(
    tokenizer: SAMTok,
    images: Iterable[tuple[ImageInput, Masks]],
    *,
    codes_per_image: int = 64,
    seed: int = 0,
) -> ExpectedIouTally:
    """Decode codes on images and see how much the masks of each two overlap.

    On every image its own masks' codes are decoded, and beside them codes of masks of the images
    before, since what a model gets wrong is some other mask's codes.

    Args:
        tokenizer: whose codes.
        images: an image and its masks, bool (N, H, W) or RLE, in an order that mixes sources.
        codes_per_image: decoded on each image, at least; own ones all count.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    pool: deque[np.ndarray] = deque(maxlen=_POOL_SIZE)
    tally = ExpectedIouTally()
    for image, masks in images:
        embeddings = tokenizer.embed(image)
        own = tokenizer.encode(embeddings, masks).numpy()
        num_others = min(len(pool), max(0, codes_per_image - len(own)))
        others = [pool[i] for i in rng.choice(len(pool), num_others, replace=False)]
        codes = np.concatenate([own, np.array(others, dtype=np.int64).reshape(-1, 2)])
        decoded = tokenizer.decode(embeddings, codes).numpy()
        tally.add(codes, pairwise_iou(decoded, decoded))
        pool.extend(own)
    return tally
