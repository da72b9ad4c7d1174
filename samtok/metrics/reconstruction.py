"""How well a tokenizer's codes rebuild the masks they came from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from samtok.metrics.segmentation import mask_iou
from samtok.tokenizer.embeddings import ImageEmbeddings
from samtok.tokenizer.mask_tokenizer import SAMTok
from samtok.tokenizer.residual_quantizer import MISSING_CODE


class Reconstruction(NamedTuple):
    """Codes of N masks of one image, and what comes back from them."""

    codes: np.ndarray
    """int64, shape (N, 2)."""
    masks: np.ndarray
    """bool, shape (N, H, W): decoded from both codes."""
    iou: np.ndarray
    """float32, shape (N,), 0..1: overlap of decoded and original masks."""


def reconstruct(
    tokenizer: SAMTok, embeddings: ImageEmbeddings, masks: np.ndarray
) -> Reconstruction:
    """Encode masks of one image, decode them at its size, and compare.

    Args:
        tokenizer: any tokenizer.
        embeddings: of that image.
        masks: bool, shape (N, H, W).
    """
    codes = tokenizer.encode(embeddings, masks)
    decoded = tokenizer.decode(embeddings, codes).numpy()
    return Reconstruction(codes.numpy(), decoded, mask_iou(decoded, masks))


def first_code_iou(
    tokenizer: SAMTok, embeddings: ImageEmbeddings, codes: np.ndarray, masks: np.ndarray
) -> np.ndarray:
    """Overlap with `masks` when only the first of each pair of codes is decoded; float32, (N,)."""
    first = torch.from_numpy(codes.copy())
    first[:, 1:] = MISSING_CODE
    return mask_iou(tokenizer.decode(embeddings, first).numpy(), masks)


def autoencode(tokenizer: SAMTok, embeddings: ImageEmbeddings, masks: np.ndarray) -> np.ndarray:
    """Masks through encoder and decoder without the quantizer: what the codes can keep at best.

    Args:
        tokenizer: any tokenizer.
        embeddings: of one image.
        masks: bool, shape (N, H, W).

    Returns:
        bool, shape (N, H, W).
    """
    return tokenizer.decode_vectors(embeddings, tokenizer.embed_masks(embeddings, masks)).numpy()
