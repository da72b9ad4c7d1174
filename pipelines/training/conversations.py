"""Conversations as a training reads them: rows by position, and what a good row is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines import columns
from pipelines.corpus_reader import open_conversations
from pipelines.training.parquet_rows import ParquetRows
from samtok.errors import ConfigError, InputError
from samtok.tasks.conversation import Conversation, Message
from samtok.words import parse


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationCorpus(ParquetRows[dict[str, Any]]):
    """Rows of `columns.CONVERSATIONS` by position."""

    @property
    def _columns(self) -> Sequence[str]:
        return list(columns.CONVERSATIONS.names)

    def _rows(self, table: pa.Table) -> Iterator[dict[str, Any]]:
        for position in range(len(table)):  # one at a time: rows may carry images
            yield table.slice(position, 1).to_pylist()[0]


def open_training_conversations(location: str, tokenizer_fingerprint: str) -> ConversationCorpus:
    """The output of ``jobs/build_dialogues.py`` at a location.

    Args:
        location: local or ``s3://``.
        tokenizer_fingerprint: of the tokenizer whose words they must hold.

    Raises:
        ConfigError: there are none, or their words are those of another tokenizer.
    """
    found = open_conversations(location, tokenizer_fingerprint=tokenizer_fingerprint)
    corpus = ConversationCorpus.of(found)
    if not corpus.starts[-1]:
        raise ConfigError(f"there are no conversations in {found.place.uri()}; see its quarantine")
    return corpus


def read_conversation(row: Mapping[str, Any], codebook_size: int) -> Conversation:
    """The conversation of a row, if it can be learned from.

    Args:
        row: of `columns.CONVERSATIONS`.
        codebook_size: codes of each book of the tokenizer in use.

    Raises:
        InputError: ``conversation_malformed``: turns are not taken, or words and ids differ in
            number; ``words_unfit``: a mask is not written in words that the tokenizer has.
    """
    try:
        conversation = Conversation(
            conversation_id=row["conversation_id"],
            task=row["task"],
            messages=tuple(Message(m["role"], m["content"]) for m in row["messages"]),
            target_words=tuple(row["target_words"]),
            mask_ids=tuple(row["mask_ids"]),
        )
    except (ValueError, TypeError) as error:
        raise InputError("conversation_malformed", str(error)) from error
    for message in conversation.messages:
        _check_words(message.content, codebook_size)
    return conversation


def _check_words(text: str, codebook_size: int) -> None:
    for span in parse(text):
        if span.status != "well_formed":
            raise InputError(
                "words_unfit",
                f"{text[span.start : span.end]!r} is no mask in two words "
                f"({', '.join(span.defects)}); build the conversations again",
            )
        assert span.codes is not None
        if max(span.codes) >= codebook_size:
            raise InputError(
                "words_unfit",
                f"{text[span.start : span.end]!r} has codes {span.codes}, but the tokenizer's "
                f"books have {codebook_size}; build the conversations with this tokenizer",
            )
