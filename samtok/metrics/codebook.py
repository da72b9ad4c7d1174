"""Whether the codebooks are used: codes in use, perplexity, and masks that share their words.

Usage is computed from histograms, which add up over workers and need no codes in memory.

Letters: N masks, D books, K codebook size.
"""

from dataclasses import dataclass

import numpy as np

from samtok.words import CODEBOOK_SIZE, MISSING_CODE, NUM_BOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class CodebookUsage:
    """How evenly each book's codes are used; one value per book."""

    codes_in_use: tuple[int, ...]
    """Codes that occur at least once, 0..K."""
    perplexity: tuple[float, ...]
    """Exponential of the entropy: as many equally frequent codes would look the same; 1..K, or 0
    for a book no code of which was counted."""


def code_histogram(codes: np.ndarray) -> np.ndarray:
    """Count how often each code of each book occurs; histograms of parts of a corpus add up.

    Args:
        codes: integer, shape (N, 2), 0..255; a missing second code (-1) is not counted.

    Returns:
        int64, shape (2, 256).

    Raises:
        ValueError: codes has another shape.
    """
    if codes.ndim != 2 or codes.shape[1] != NUM_BOOKS:
        raise ValueError(f"codes have shape {codes.shape}; expected (N, {NUM_BOOKS})")
    books = [book[book != MISSING_CODE] for book in codes.T]
    return np.stack([np.bincount(book, minlength=CODEBOOK_SIZE) for book in books])


def usage_from_histogram(histogram: np.ndarray) -> CodebookUsage:
    """Sum up a histogram of codes, int64 (D, K), as `code_histogram` makes and adds up."""
    return CodebookUsage(
        codes_in_use=tuple(int(np.count_nonzero(counts)) for counts in histogram),
        perplexity=tuple(_compute_perplexity(counts) for counts in histogram),
    )


def codebook_usage(codes: np.ndarray) -> CodebookUsage:
    """Usage over codes that fit into memory; integer (N, 2), as for `code_histogram`."""
    return usage_from_histogram(code_histogram(codes))


def count_collisions(codes: np.ndarray) -> np.ndarray:
    """Flag the masks of one image that share both words with another, so no text can part them.

    Args:
        codes: integer, shape (N, 2), all of one image.

    Returns:
        bool, shape (N,); its sum is the number of masks concerned.
    """
    if len(codes) == 0:
        return np.zeros(0, dtype=bool)
    _, kind, count = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    flags: np.ndarray = count[kind.ravel()] > 1
    return flags


def _compute_perplexity(counts: np.ndarray) -> float:
    if counts.sum() == 0:
        return 0.0
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
