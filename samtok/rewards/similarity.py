"""How alike two masks are, told from their codes alone.

Either by where the codes lie in the codebooks, or by an expected IoU looked up in a table.

Letters: P predicted, T true masks, K codebook size, C channels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from samtok.errors import CheckpointError
from samtok.words import CODEBOOK_SIZE, MISSING_CODE

EXPECTED_IOU_FILE: Final = "expected_iou.safetensors"


class CodeSimilarity(Protocol):
    """Compares codes."""

    def __call__(self, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Compare every predicted pair of codes with every true one.

        Args:
            predicted: int64, shape (P, 2), 0..255; the second -1 where it is missing.
            true: int64, shape (T, 2).

        Returns:
            float64, shape (P, T), 0..1; 1 where both codes are equal.
        """
        ...


class CodebookSimilarity:
    """Nearness of the quantized embeddings that codes stand for.

    ``max(0, 1 - |x - y|² / E|x - y|²)``: 1 for the same vector, 0 for two that are as far apart as
    codes drawn at random, which two unrelated masks are.

    Args:
        codebooks: float, shape (2, K, C), rows of both books.
        usage: float, shape (2, K), how often each code occurs, in any unit; codes that never occur
            may lie anywhere and do not count for the distance expected. All zero counts evenly.
    """

    def __init__(self, codebooks: np.ndarray, usage: np.ndarray) -> None:
        books = codebooks.astype(np.float64)
        self._size = books.shape[1]
        # A missing code is -1, the last row: it adds nothing.
        self._rows = np.concatenate([books, np.zeros_like(books[:, :1])], axis=1)
        total = usage.sum(axis=1, keepdims=True, dtype=np.float64)
        shares = np.where(total > 0, usage / np.maximum(total, 1e-12), 1 / self._size)[..., None]
        means = (shares * books).sum(axis=1, keepdims=True)
        # Of two independent draws: twice the variance.
        self._expected = 2 * float((shares * (books - means) ** 2).sum())

    def __call__(self, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        """See `CodeSimilarity`; codes that the books do not have are like no other, 0."""
        is_known = (predicted < self._size).all(axis=1)[:, None] & (true < self._size).all(axis=1)
        first, second = self._embed(predicted), self._embed(true)
        distances = ((first[:, None] - second[None]) ** 2).sum(axis=2)
        nearness = np.maximum(0.0, 1.0 - distances / max(self._expected, 1e-12))
        return np.where(is_known, nearness, 0.0)

    def _embed(self, codes: np.ndarray) -> np.ndarray:
        known = np.where(codes < self._size, codes, MISSING_CODE)
        vectors: np.ndarray = self._rows[0, known[:, 0]] + self._rows[1, known[:, 1]]
        return vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedIou:
    """IoU to be expected between two masks of an image, given their codes.

    A table over all pairs of pairs would have 256⁴ cells. The first word carries nearly all of a
    mask, so the table is over first words; on its diagonal, over masks that share the first word
    and differ in the second.
    """

    table: np.ndarray
    """float32, shape (256, 256), symmetric, 0..1."""
    fingerprint: str
    """Of the tokenizer it was estimated with."""

    def __call__(self, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        """See `CodeSimilarity`."""
        is_same = (predicted[:, None] == true[None]).all(axis=2)
        looked_up = self.table[predicted[:, None, 0], true[None, :, 0]]
        return np.where(is_same, 1.0, looked_up)

    def to_bytes(self) -> bytes:
        """The file `EXPECTED_IOU_FILE`, safetensors."""
        return save(
            {"table": np.ascontiguousarray(self.table, dtype=np.float32)},
            metadata={"samtok": json.dumps({"fingerprint": self.fingerprint})},
        )

    @staticmethod
    def load(folder: str | Path, *, fingerprint: str) -> ExpectedIou:
        """Read the table of a tokenizer.

        Args:
            folder: of the tokenizer.
            fingerprint: of the tokenizer in use.

        Raises:
            CheckpointError: there is no table, it cannot be read, or it is another tokenizer's.
        """
        path = Path(folder) / EXPECTED_IOU_FILE
        try:
            with safe_open(path, framework="numpy") as file:
                made_with = json.loads((file.metadata() or {})["samtok"])["fingerprint"]
                table = file.get_tensor("table")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{path} holds no table of expected IoU ({error}); estimate it by "
                "jobs/evaluate_tokenizer.py --expected-iou, and put it there"
            ) from error
        if made_with != fingerprint:
            raise CheckpointError(
                f"{path} was estimated with tokenizer {made_with[:12]}, in use is "
                f"{fingerprint[:12]}; estimate it anew"
            )
        if table.shape != (CODEBOOK_SIZE, CODEBOOK_SIZE):
            raise CheckpointError(
                f"{path}: the table is {table.shape}; expected {(CODEBOOK_SIZE, CODEBOOK_SIZE)}"
            )
        return ExpectedIou(table=table, fingerprint=made_with)


class ExpectedIouTally:
    """Estimates the table of `ExpectedIou` from masks decoded on the same image.

    Args:
        shrinkage: a cell's mean is drawn towards the mean of all cells as if that had been seen
            this many times more; cells never seen are that mean. The diagonal has its own.
    """

    def __init__(self, *, shrinkage: float = 1.0) -> None:
        self._shrinkage = shrinkage
        self._sums = np.zeros((CODEBOOK_SIZE, CODEBOOK_SIZE), dtype=np.float64)
        self._counts = np.zeros((CODEBOOK_SIZE, CODEBOOK_SIZE), dtype=np.int64)

    def add(self, codes: np.ndarray, ious: np.ndarray) -> None:
        """Add an image.

        Args:
            codes: int64, shape (N, 2), 0..255.
            ious: float, shape (N, N): of the masks that they decode to.
        """
        rows, columns = np.triu_indices(len(codes), k=1)
        differ = (codes[rows] != codes[columns]).any(axis=1)
        rows, columns = rows[differ], columns[differ]
        first, second = codes[rows, 0], codes[columns, 0]
        for a, b in ((first, second), (second, first)):
            np.add.at(self._sums, (a, b), ious[rows, columns])
            np.add.at(self._counts, (a, b), 1)

    def add_cells(self, cells: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> None:
        """Add what another tally has seen, by its :meth:`cells`."""
        self._sums.reshape(-1)[cells] += sums
        self._counts.reshape(-1)[cells] += counts

    def cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What was seen: cells (256 a + b), sums of IoU, and pairs; each of shape (M,)."""
        (cells,) = np.nonzero(self._counts.reshape(-1))
        return cells, self._sums.reshape(-1)[cells], self._counts.reshape(-1)[cells]

    def estimate(self, fingerprint: str) -> ExpectedIou:
        """The table so far, for the tokenizer of this fingerprint."""
        on_diagonal = np.eye(CODEBOOK_SIZE, dtype=bool)
        prior = np.where(on_diagonal, self._mean(on_diagonal), self._mean(~on_diagonal))
        table = (self._sums + self._shrinkage * prior) / (self._counts + self._shrinkage)
        return ExpectedIou(table=table.astype(np.float32), fingerprint=fingerprint)

    @property
    def num_cells_seen(self) -> int:
        """Cells with at least one pair of masks, of 65,536."""
        return int(np.count_nonzero(self._counts))

    def _mean(self, cells: np.ndarray) -> float:
        return float(self._sums[cells].sum() / max(1, self._counts[cells].sum()))
