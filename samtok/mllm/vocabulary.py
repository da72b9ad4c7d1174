"""Mask words enter a model's vocabulary.

The 514 words become ordinary tokens, not special ones, so that decoding with
``skip_special_tokens=True`` keeps them. Tables are never made smaller: hub models have more rows
than their tokenizers have tokens, and those rows are used first.

Letters: V words of the vocabulary, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from tokenizers import AddedToken

from samtok.errors import ConfigError
from samtok.mllm.codebook_rows import make_codebook_rows
from samtok.mllm.model import Mllm, load_mllm
from samtok.words import CODEBOOK_SIZE, list_mask_words

NOISE_SCALE: Final = 0.02
"""Deviation of new rows, as a share of the deviation of the old ones."""
_ROWS_MULTIPLE: Final = 128
"""Tables grow to a multiple of this, as those of the hub models are."""


@dataclass(frozen=True, slots=True)
class MaskTokenIds:
    """Token ids of the mask words of one vocabulary."""

    start: int
    """Of ``<|mt_start|>``."""
    end: int
    """Of ``<|mt_end|>``."""
    book_0: torch.Tensor
    """int64, shape (256,): of the first code's words, in order of code."""
    book_1: torch.Tensor
    """int64, shape (256,): of the second code's words, in order of code."""


@torch.no_grad()
def extend_vocabulary(
    model: Any, processor: Any, *, seed: int = 0, codebooks: np.ndarray | None = None
) -> bool:
    """Add the mask words to a tokenizer and give each a row in the model's tables.

    New rows start at mean + 0.02 · N(0, 1) · deviation, per channel over the rows of the tokens
    that were there before; the head's too, where it is not tied to the embeddings. Calling it again
    changes nothing.

    Args:
        model: of transformers, changed in place; optimizers are made after this call.
        processor: of the model; its tokenizer is changed in place.
        seed: of the noise.
        codebooks: of the mask tokenizer, shape (2, K, D). With them new rows start otherwise: those
            of code words as :mod:`samtok.mllm.codebook_rows` makes them, those of start and end as
            the rows of ``[`` and ``]``, between which models that know places write boxes.

    Returns:
        Whether the model was already extended, as the published ones are.
    """
    tokenizer = processor.tokenizer
    new_words = add_mask_words(tokenizer)
    vocabulary = tokenizer.get_vocab()
    num_rows = model.get_input_embeddings().weight.shape[0]
    if not new_words and max(vocabulary.values()) < num_rows:
        return True
    num_needed = max(vocabulary.values()) + 1
    if num_needed > num_rows:
        rounded = -(-num_needed // _ROWS_MULTIPLE) * _ROWS_MULTIPLE
        model.resize_token_embeddings(rounded, mean_resizing=False)
        # Also the words of a tokenizer that was extended without its model.
        new_words = list_mask_words()
    new_ids = {vocabulary[word] for word in new_words}
    old_rows = sorted({row for row in vocabulary.values() if row < num_rows} - new_ids)
    tables = list_tables(model)
    new_rows = sorted(new_ids.union(range(num_rows, len(tables[0]))))
    generator = torch.Generator().manual_seed(seed)
    for table in tables:
        old = table[old_rows].float().cpu()
        table[new_rows] = _draw_rows(old, len(new_rows), generator).to(table)
        if codebooks is not None:
            ids = mask_token_ids(tokenizer)
            code_rows = make_codebook_rows(codebooks, old, seed=seed).to(table)
            for book, rows in zip((ids.book_0, ids.book_1), code_rows, strict=True):
                table[book[: len(rows)]] = rows
            table[[ids.start, ids.end]] = table[[vocabulary["["], vocabulary["]"]]]
    return False


def load_extended(
    source: str,
    device: str | torch.device,
    *,
    dtype: str | torch.dtype = torch.float32,
    seed: int,
    codebooks: np.ndarray | None = None,
) -> Mllm:
    """Load a model and make sure that it has the mask words, as every training starts.

    Args:
        source: a folder in hub layout, or a hub id.
        device: as :func:`~samtok.mllm.model.load_mllm` takes it.
        dtype: of the weights.
        seed: of new rows.
        codebooks: as for :func:`extend_vocabulary`.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    mllm = load_mllm(source, device=device, dtype=dtype)
    extend_vocabulary(mllm.model, mllm.processor, seed=seed, codebooks=codebooks)
    return mllm


def add_mask_words(tokenizer: Any) -> list[str]:
    """Add the mask words to a tokenizer alone, as :func:`extend_vocabulary` does.

    For workers that encode and hold no model.

    Returns:
        The words that were not there.
    """
    known = tokenizer.get_vocab()
    new_words = [word for word in list_mask_words() if word not in known]
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in new_words])
    return new_words


def list_tables(model: Any) -> list[torch.Tensor]:
    """The embeddings' (V, C) weights and, where it has its own, the head's."""
    embeddings = model.get_input_embeddings().weight
    head = model.get_output_embeddings().weight
    return [embeddings] if head is embeddings else [embeddings, head]


def mask_token_ids(tokenizer: Any) -> MaskTokenIds:
    """Find the mask words in a vocabulary.

    Raises:
        ConfigError: the vocabulary has not been extended.
    """
    known = tokenizer.get_vocab()
    ids = [known.get(word) for word in list_mask_words()]
    if None in ids:
        raise ConfigError(
            f"the vocabulary lacks {ids.count(None)} of {len(ids)} mask words; call "
            "extend_vocabulary, or run jobs/extend_vocabulary.py"
        )
    start, end, *codes = ids
    return MaskTokenIds(
        start, end, torch.tensor(codes[:CODEBOOK_SIZE]), torch.tensor(codes[CODEBOOK_SIZE:])
    )


def _draw_rows(old: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(count, old.shape[1], generator=generator)
    return old.mean(0) + NOISE_SCALE * noise * old.std(0)
