"""The masks that answers name, decoded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from samtok.answer_forms import Codes
from samtok.metrics.answer_measures import list_codes
from samtok.tokenizer import SAMTok


def decode_answers(
    tokenizer: SAMTok, image: np.ndarray, texts: Iterable[str]
) -> dict[Codes, np.ndarray]:
    """Every mask that some texts name, decoded on an image embedded once.

    Codes that the tokenizer does not have give an empty mask.

    Args:
        tokenizer: whose codes.
        image: uint8, shape (H, W, 3).
        texts: with mask words.

    Returns:
        Codes → bool, shape (H, W).
    """
    named = list_codes(list(texts))
    known = [codes for codes in named if max(codes) < tokenizer.config.codebook_size]
    masks: dict[Codes, np.ndarray] = {
        codes: np.zeros(image.shape[:2], dtype=bool) for codes in named
    }
    if known:
        decoded = tokenizer.decode(tokenizer.embed(image), torch.tensor(known)).numpy()
        masks.update(zip(known, decoded, strict=True))
    return masks
