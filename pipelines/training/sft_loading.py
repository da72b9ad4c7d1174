"""From windows of conversations to micro-batches: the Ray Data stage of fine-tuning.

Loading workers open images and encode conversations with the model's processor, so that the
training only computes. What cannot be learned from is left out and goes along as rejected, to be
written into the quarantine by the training.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from pipelines import columns
from pipelines.image_decoding import open_row_image
from pipelines.quarantined_row import quarantine_conversation
from pipelines.training.conversations import ConversationCorpus, read_conversation
from pipelines.training.encoded_rows import ENCODED, to_row
from pipelines.training.plan import Run, Window, cut_evenly
from pipelines.training.window_stage import WindowStage
from samtok.errors import ConfigError, InputError
from samtok.mllm.collate import (
    EncodedExample,
    EncodedImage,
    Example,
    encode_example,
    encode_image,
)
from samtok.mllm.shared_image import join_by_image
from samtok.tokenizer.image_transform import ImageInput
from samtok.training.lanes import deal_evenly

STAGE: Final = "train_sft"

Batching: TypeAlias = Literal["padded", "grouped", "packed"]

SFT_MICRO_BATCH: Final = pa.schema(
    [
        ("conversations", pa.list_(ENCODED)),
        ("rejected", pa.list_(pa.struct(list(columns.QUARANTINE)))),  # of the whole window
    ]
)
"""A lane's part of a step's batch; a window's rejected rows are with its first one."""


class _Rejected(NamedTuple):
    """A row that cannot be learned from."""

    row: dict[str, Any]
    """Of `columns.QUARANTINE`."""
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SftLoadStage(WindowStage):
    """Read windows of conversations, encode them, and cut them into micro-batches.

    Columns out: `SFT_MICRO_BATCH`. State held: the processor, per process.
    """

    corpora: tuple[ConversationCorpus, ...]
    processor: bytes
    """Of the model, extended by the mask words; pickled, since there may be no folder yet that
    every node can read."""
    codebook_size: int
    """Of the mask tokenizer."""
    max_length: int
    """Most tokens of a conversation."""
    batching: Batching
    """padded: in random order. grouped: of about the same length. packed: those about an image
    share it, in micro-batches of about the same number of tokens in all."""

    @property
    def schema(self) -> pa.Schema:
        """`SFT_MICRO_BATCH`."""
        return SFT_MICRO_BATCH

    def load(self, window: Window) -> Iterator[dict[str, Any]]:
        """The conversations of a window, encoded."""
        images = _Images(_unpickle(self.processor))
        results = [result for run in window.runs for result in self._encode_run(run, images)]
        rejected = [r for r in results if isinstance(r, _Rejected)]
        kept = self.shuffle(window, [None if isinstance(r, _Rejected) else r for r in results])
        if len(kept) < self.batches_per_window:
            raise ConfigError(
                f"only {len(kept)} of {len(results)} neighbouring conversations can be learned "
                f"from, and a window makes {self.batches_per_window} micro-batches; the first left "
                f"out says: {rejected[0].row['detail']}"
            )
        for number, batch in enumerate(self._deal(window, kept)):
            yield {
                "conversations": [to_row(example) for example in batch],
                # Later epochs would tell the same again.
                "rejected": [r.row for r in rejected if r.epoch == 0] if number == 0 else [],
            }

    def _encode_run(self, run: Run, images: _Images) -> Iterator[EncodedExample | _Rejected]:
        for row in self.corpora[run.corpus].read(run.start, run.stop):
            try:
                yield encode_row(
                    row,
                    _unpickle(self.processor),
                    codebook_size=self.codebook_size,
                    max_length=self.max_length,
                    open_image=images.open,
                )
            except InputError as error:
                yield _Rejected(quarantine_conversation(row, error, stage=STAGE), run.epoch)

    def _deal(
        self, window: Window, examples: Sequence[EncodedExample]
    ) -> Sequence[Sequence[EncodedExample]]:
        number = self.batches_per_window
        if self.batching == "padded":
            return cut_items(examples, number)
        if self.batching == "packed":
            joined = join_by_image(
                examples,
                image_token_id=_unpickle(self.processor).image_token_id,
                capacity=self.max_length,
                max_conversations=len(examples) // number,  # none of the batches is empty
            )
            return balance(joined, number)
        groups = cut_items(sorted(examples, key=len), number)
        entropy = [self.mixture.seed, 4, window.lane, window.number]
        order = np.random.default_rng(entropy).permutation(number)
        return [groups[position] for position in order.tolist()]


class _Images:
    """Images of a window's rows, encoded; rows of the same image get the same tensors."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._encoded: dict[tuple[str, bytes | None], EncodedImage] = {}

    def open(self, row: Mapping[str, Any]) -> EncodedImage:
        """The image of a row of `columns.CONVERSATIONS`."""
        key = row["image_uri"], row["image"]
        if key not in self._encoded:
            self._encoded[key] = encode_image(open_row_image(row), self._processor)
        return self._encoded[key]


def encode_row(
    row: Mapping[str, Any],
    processor: Any,
    *,
    codebook_size: int,
    max_length: int,
    open_image: Callable[[Mapping[str, Any]], ImageInput | EncodedImage] = open_row_image,
) -> EncodedExample:
    """What a model learns from a row.

    Args:
        row: of `columns.CONVERSATIONS`.
        processor: of the model.
        codebook_size: of the mask tokenizer.
        max_length: most tokens.
        open_image: finds its image.

    Raises:
        InputError: it cannot be learned from: its words, its image or its length.
    """
    conversation = read_conversation(row, codebook_size)
    return encode_example(Example(conversation, open_image(row)), processor, max_length)


def balance(examples: Sequence[EncodedExample], number: int) -> list[list[EncodedExample]]:
    """Deal examples out to batches of about the same number of tokens, the longest first.

    Args:
        examples: at least `number`.
        number: of batches; none is empty.
    """
    parts = deal_evenly([len(example) for example in examples], number)
    return [[examples[position] for position in part] for part in parts]


@lru_cache(maxsize=1)
def _unpickle(processor: bytes) -> Any:
    return pickle.loads(processor)


def cut_items(items: Sequence[EncodedExample], number: int) -> list[Sequence[EncodedExample]]:
    """Cut a sequence into parts whose lengths differ by at most one."""
    return [items[start:stop] for start, stop in cut_evenly(len(items), number)]
