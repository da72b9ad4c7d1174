"""Conversations to answer: their questions, images, and the true masks behind their words.

Nothing here imports torch, which would take 350 MB in every worker that reads.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import columns
from pipelines.corpus_reader import ConversationFiles, WordFiles, open_conversations, open_words
from pipelines.row_groups import RowGroup, read_row_groups, scan_row_groups
from samtok.errors import ConfigError

TRUE_MASK: Final = pa.struct(
    [("mask_id", pa.string()), ("words", pa.string()), ("rle", columns.RLE)]
)
CONVERSATION: Final = pa.struct(
    [
        ("reference", pa.string()),
        ("conversation_id", pa.string()),
        ("task", pa.string()),
        ("source", pa.string()),
        ("messages", pa.list_(columns.MESSAGE)),
        ("target_words", pa.list_(pa.string())),
        ("mask_ids", pa.list_(pa.string())),
    ]
)
ASKED: Final = pa.schema(
    [
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("image", pa.large_binary()),  # the encoded file; null where only the address is known
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("masks", pa.list_(TRUE_MASK)),
        ("conversations", pa.list_(CONVERSATION)),
    ]
)
"""An image with all that is asked about it."""

_IMAGE_COLUMNS: Final = ("image_id", "image_uri", "image", "height", "width")
_CONVERSATION_COLUMNS: Final = tuple(f.name for f in CONVERSATION if f.name != "reference")


@dataclass(frozen=True, slots=True)
class ConversationListing:
    """What is going to be asked."""

    blocks: list[str]
    """References, in order."""
    num_conversations: dict[str, int]
    """By task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSource:
    """Finished conversations and the mask words they were made with; small and picklable."""

    conversations: ConversationFiles
    words: WordFiles
    tasks: tuple[str, ...] = ()
    """Which; all where empty."""
    limit: int | None = None
    """Only the first so many conversations of each task."""
    images_per_block: int = 16
    """Images that are read and asked about together, at most."""

    def identity(self) -> dict[str, Any]:
        """JSON values that say which conversations these are."""
        return {
            "conversations": self.conversations.place.uri(),
            "conversations_manifest_sha256": self.conversations.digest,
            "words_manifest_sha256": self.words.digest,
            "tasks": list(self.tasks),
            "limit": self.limit,
        }

    def list_blocks(self) -> ConversationListing:
        """Find the conversations and the files of their masks; reads ids only.

        Raises:
            ConfigError: there is none of the tasks, or a file cannot be read.
        """
        counts: Counter[str] = Counter()
        groups = [
            (group, self._choose_rows(table, counts))
            for group, table in scan_row_groups(
                self.conversations.place, self.conversations.files, ["image_id", "task"]
            )
        ]
        if not counts:
            raise ConfigError(
                f"{self.conversations.place.uri()} has no conversations of "
                f"{', '.join(self.tasks) or 'any task'}; it has "
                f"{self.conversations.num_conversations or 'none at all'}"
            )
        files = self._locate_words({image_id for _, rows in groups for _, image_id in rows})
        blocks = [
            block
            for group, rows in groups
            for block in _cut(group, rows, files, self.images_per_block)
        ]
        return ConversationListing(blocks, dict(sorted(counts.items())))

    def read(self, reference: str) -> Iterator[dict[str, Any]]:
        """Rows of `ASKED`, by image, of a block, or of the one conversation referred to."""
        block = json.loads(reference)
        wanted = [*_IMAGE_COLUMNS, *_CONVERSATION_COLUMNS]
        groups = [RowGroup(*block["group"])]
        (table,) = read_row_groups(self.conversations.place, groups, wanted)
        masks = self._read_masks(block["words"], table.take(block["rows"]).column("image_id"))
        images: dict[str, dict[str, Any]] = {}
        for number in block["rows"]:
            row = table.slice(number, 1).to_pylist()[0]
            image = images.setdefault(
                row["image_id"],
                {name: row[name] for name in _IMAGE_COLUMNS}
                | {"masks": masks.get(row["image_id"], []), "conversations": []},
            )
            image["conversations"].append(
                {name: row[name] for name in _CONVERSATION_COLUMNS}
                | {"reference": json.dumps({**block, "rows": [number]})}
            )
        yield from images.values()

    def _choose_rows(self, table: pa.Table, counts: Counter[str]) -> list[tuple[int, str]]:
        """Position and image id of the chosen rows of a row group; counts them by task."""
        chosen = []
        for number, row in enumerate(table.to_pylist()):
            is_wanted = not self.tasks or row["task"] in self.tasks
            if is_wanted and (self.limit is None or counts[row["task"]] < self.limit):
                counts[row["task"]] += 1
                chosen.append((number, row["image_id"]))
        return chosen

    def _locate_words(self, image_ids: set[str]) -> dict[str, str]:
        """Image → the file that holds the words of its masks."""
        return {image: file for image, file in self.words.list_images() if image in image_ids}

    def _read_masks(
        self, files: list[str], image_ids: pa.ChunkedArray
    ) -> dict[str, list[dict[str, Any]]]:
        masks: dict[str, list[dict[str, Any]]] = {}
        for name in files:
            table = pq.read_table(
                self.words.place.path(name),
                filesystem=self.words.filesystem,
                columns=["image_id", "mask_id", "words", "rle"],
                filters=[("image_id", "in", image_ids.unique().to_pylist())],
            )
            for row in table.to_pylist():
                masks.setdefault(row.pop("image_id"), []).append(row)
        return masks


def open_source(
    conversations: str,
    words: str | None,
    *,
    tokenizer_fingerprint: str,
    tasks: tuple[str, ...],
    limit: int | None,
    images_per_block: int = 16,
) -> ConversationSource:
    """Find the conversations and their mask words.

    Args:
        conversations: the ``--output`` of ``jobs/build_dialogues.py``.
        words: the ``--output`` of ``jobs/tokenize_corpus.py``; None for where the conversations'
            manifest says.
        tokenizer_fingerprint: of the tokenizer that will decode the answers.
        tasks: which; all where empty.
        limit: of each task.
        images_per_block: as in `ConversationSource`.

    Raises:
        ConfigError: either is not there, unfinished, or they do not belong together.
    """
    found = open_conversations(conversations, tokenizer_fingerprint=tokenizer_fingerprint)
    made_of = found.manifest["identity"]
    found_words = open_words(made_of["words"] if words is None else words)
    if found_words.digest != made_of["words_manifest_sha256"]:
        raise ConfigError(
            f"the conversations in {found.place.uri()} were made with other mask words than those "
            f"in {found_words.place.uri()}, or with an earlier state of them; give theirs with "
            "--words, or run jobs/build_dialogues.py again"
        )
    return ConversationSource(
        conversations=found,
        words=found_words,
        tasks=tasks,
        limit=limit,
        images_per_block=images_per_block,
    )


def _cut(
    group: RowGroup,
    rows: list[tuple[int, str]],
    words_of: dict[str, str],
    images_per_block: int,
) -> Iterator[str]:
    """References of a few images each, the conversations of one image together."""
    ids = list(dict.fromkeys(image_id for _, image_id in rows))
    for first in range(0, len(ids), images_per_block):
        chosen = set(ids[first : first + images_per_block])
        files = {words_of[image_id] for image_id in chosen if image_id in words_of}
        yield json.dumps(
            {
                "group": group,
                "rows": [number for number, image_id in rows if image_id in chosen],
                "words": sorted(files),
            }
        )
