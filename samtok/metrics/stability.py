"""How steady a mask's words are: the same mask a pixel aside, a pixel wider, or on a noisy image.

A language model can learn words only as far as like masks have like words. Each mask is disturbed
in three ways, encoded again, and compared with what it was. What is compared, exactly:

- ``shift``: one pixel up, down, left or right (drawn for each mask); pixels that leave the image
  are lost. The image stays.
- ``dilate``: grown by its four-neighbours. The image stays.
- ``noise``: Gaussian noise on the image, rounded and clipped to 0..255. The mask stays.

Letters: N masks, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from samtok.metrics.reconstruction import Reconstruction, reconstruct
from samtok.metrics.segmentation import mask_iou
from samtok.tokenizer.embeddings import ImageEmbeddings
from samtok.tokenizer.mask_tokenizer import SAMTok

PERTURBATIONS: Final = ("shift", "dilate", "noise")
DEFAULT_NOISE_SIGMA: Final = 5.0
"""Standard deviation of the noise, in units of 0..255."""

_DIRECTIONS: Final = ((-1, 0), (1, 0), (0, -1), (0, 1))

Seed = int | Sequence[int]


class MaskStability(NamedTuple):
    """One perturbation of N masks of one image, mask by mask; means over masks are the figures."""

    pair_kept: np.ndarray
    """bool, shape (N,): both codes are as before."""
    first_kept: np.ndarray
    """bool, shape (N,): the first code is as before."""
    decoding_iou: np.ndarray
    """float32, shape (N,), 0..1: overlap of the masks decoded before and after. A shift is not
    undone, so a kept pair gives exactly 1 under shift and dilation; after noise the codes are
    decoded on the noisy image."""
    reconstruction_iou: np.ndarray
    """float32, shape (N,), 0..1: overlap of the disturbed mask and what its codes decode to."""
    disturbed_iou: np.ndarray
    """float32, shape (N,), 0..1: overlap of the mask and its disturbed self: a tokenizer without
    loss would have it as `decoding_iou`."""

    def means(self) -> dict[str, float]:
        """Name of a figure → its mean over the masks, 0..1; NaN without masks."""
        return {
            name: float(np.mean(values)) if len(values) else float("nan")
            for name, values in self._asdict().items()
        }


def measure_stability(
    tokenizer: SAMTok,
    image: np.ndarray,
    masks: np.ndarray,
    *,
    seed: Seed = 0,
    noise_sigma: float = DEFAULT_NOISE_SIGMA,
) -> dict[str, MaskStability]:
    """Disturb the masks of one image, and the image, and see what becomes of their words.

    Args:
        tokenizer: any tokenizer.
        image: uint8, shape (H, W, 3), RGB.
        masks: bool, shape (N, H, W), none empty.
        seed: of directions and noise; the same gives the same figures.
        noise_sigma: standard deviation of the noise, in units of 0..255; 0 or more.

    Returns:
        A value for each of `PERTURBATIONS`.
    """
    embeddings = tokenizer.embed(image)
    noisy = tokenizer.embed(add_noise(image, noise_sigma, seed=seed))
    original = reconstruct(tokenizer, embeddings, masks)
    return compare_disturbed(tokenizer, embeddings, noisy, masks, original, seed=seed)


def compare_disturbed(
    tokenizer: SAMTok,
    embeddings: ImageEmbeddings,
    noisy: ImageEmbeddings,
    masks: np.ndarray,
    original: Reconstruction,
    *,
    seed: Seed = 0,
) -> dict[str, MaskStability]:
    """`measure_stability` for embeddings and reconstructions that are at hand.

    Args:
        tokenizer: any tokenizer.
        embeddings: of the image.
        noisy: of the image with noise.
        masks: bool, shape (N, H, W), none empty.
        original: of these masks on `embeddings`.
        seed: of the directions.
    """
    disturbed = {
        "shift": (embeddings, shift_masks(masks, seed=seed)),
        "dilate": (embeddings, dilate_masks(masks)),
        "noise": (noisy, masks),
    }
    return {
        name: _compare(original, reconstruct(tokenizer, seen, changed), mask_iou(changed, masks))
        for name, (seen, changed) in disturbed.items()
    }


def add_noise(image: np.ndarray, sigma: float, *, seed: Seed = 0) -> np.ndarray:
    """Gaussian noise of deviation `sigma`; uint8 (H, W, 3) → the same, rounded, in 0..255."""
    noise = np.random.default_rng(seed).standard_normal(image.shape, dtype=np.float32)
    return (image + sigma * noise).round().clip(0, 255).astype(np.uint8)


def shift_masks(masks: np.ndarray, *, seed: Seed = 0) -> np.ndarray:
    """Each mask one pixel aside; bool (N, H, W) → the same.

    A mask that its direction would push out of the image goes the other way, or stays where the
    image has one pixel only.
    """
    directions = np.random.default_rng(seed).integers(len(_DIRECTIONS), size=len(masks))
    return np.array(
        [_shift(mask, *_DIRECTIONS[d]) for mask, d in zip(masks, directions, strict=True)],
        dtype=bool,
    ).reshape(masks.shape)


def dilate_masks(masks: np.ndarray) -> np.ndarray:
    """Each mask with the pixels that share a side with it; bool (N, H, W) → the same."""
    grown = masks.copy()
    grown[:, 1:] |= masks[:, :-1]
    grown[:, :-1] |= masks[:, 1:]
    grown[:, :, 1:] |= masks[:, :, :-1]
    grown[:, :, :-1] |= masks[:, :, 1:]
    return grown


def _shift(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    padded = np.pad(mask, 1)
    height, width = mask.shape
    for sign in (1, -1):
        top, left = 1 - sign * down, 1 - sign * right
        moved: np.ndarray = padded[top : top + height, left : left + width]
        if moved.any():
            return moved
    return mask


def _compare(before: Reconstruction, after: Reconstruction, disturbed: np.ndarray) -> MaskStability:
    is_kept = before.codes == after.codes
    return MaskStability(
        pair_kept=is_kept.all(axis=1),
        first_kept=is_kept[:, 0],
        decoding_iou=mask_iou(after.masks, before.masks),
        reconstruction_iou=after.iou,
        disturbed_iou=disturbed,
    )
