"""What dialogues are made of: a Corpus, the words of its masks, perhaps general conversations.

Joined by image while listing, so that a worker knows which file of words to open.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from pipelines.corpus.dialogue_general import GeneralConversations
from pipelines.corpus.dialogue_rows import ImageDialogues, Mixture, write_dialogues
from pipelines.corpus.index import write_shards
from pipelines.corpus.records import Index
from pipelines.corpus.sources.parquet_rows import RowReader, list_rows
from pipelines.corpus_reader import WordFiles, open_corpus, open_words
from pipelines.storage import Place
from samtok.errors import ConfigError, InputError

_IMAGE_COLUMNS: Final = ("image_id", "image_uri", "height", "width", "source", "image", "texts")
_WORD_COLUMNS: Final = (
    "image_id",
    "mask_id",
    "category",
    "words",
    "bbox",
    "reconstruction_iou",
    "collides",
)
_WORD_FILES_AT_HAND: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class DialogueSource:
    """The images of a finished Corpus beside finished mask words, then general conversations."""

    corpus: str
    """The Corpus, local or ``s3://``."""
    words: str
    """Mask words of its masks, local or ``s3://``."""
    general: GeneralConversations | None = None
    images_per_shard: int = 128

    @property
    def name(self) -> str:
        """Of the source; rows keep the name of the format they came from."""
        return "dialogues"

    def identity(self) -> dict[str, Any]:
        """Corpus and words, by what their manifests say, and the general conversations."""
        corpus, words = open_corpus(self.corpus, needs_masks=False), open_words(self.words)
        return {
            "source": self.name,
            "corpus": corpus.place.uri(),
            "corpus_manifest_sha256": corpus.digest,
            "words": words.place.uri(),
            "words_manifest_sha256": words.digest,
            "tokenizer_fingerprint": words.tokenizer_fingerprint,
            **(self.general.identity() if self.general else {}),
        }

    def check(self) -> None:
        """All must be there, and the words must be those of the Corpus."""
        corpus, words = open_corpus(self.corpus, needs_masks=False), open_words(self.words)
        if words.corpus_digest not in (None, corpus.digest):
            raise ConfigError(
                f"the words in {words.place.uri()} are those of another corpus "
                f"({words.manifest['identity'].get('corpus')}) than {corpus.place.uri()}, or of an "
                "earlier state of it; run jobs/tokenize_corpus.py on this one"
            )
        if self.general is not None:
            self.general.check()

    def write_index(self, output: Place, *, limit: int | None) -> Index:
        """A row per image of the Corpus with the file of its words, and per general conversation.

        Args:
            output: of the job.
            limit: only the first so many of each.

        Raises:
            ConfigError: a file cannot be read.
        """
        counts = {"images": 0, "texts": 0}

        def list_all() -> Iterator[dict[str, str]]:
            for row, num_texts in self._list_images(limit):
                counts["images"] += 1
                counts["texts"] += num_texts
                yield row
            for row in self.general.list_rows(limit) if self.general else ():
                counts["images"] += 1
                counts["texts"] += 1
                yield row

        shards = write_shards(output, list_all(), images_per_shard=self.images_per_shard)
        return Index(
            shards=shards,
            num_images=counts["images"],
            num_masks=0,
            quarantined={},
            num_quarantined_masks=0,
            num_texts=counts["texts"],
        )

    def make(self, image_id: str, payload: str, mixture: Mixture) -> ImageDialogues:
        """The conversations of a listed row."""
        pointer = json.loads(payload)
        if "general" in pointer:
            assert self.general is not None
            return self.general.make(image_id, pointer["general"], mixture)
        try:
            image = RowReader(self.corpus, _IMAGE_COLUMNS).read_at(pointer)
            words = self.read_words(image_id, pointer, _WORD_COLUMNS)
        except InputError as error:
            return ImageDialogues.reject(
                error, source=self.name, image_id=image_id, num_texts=pointer["num_texts"]
            )
        return write_dialogues(image, words, mixture)

    def read_words(
        self, image_id: str, pointer: dict[str, Any], columns: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        """Rows of mask words of a listed image; none if it has no tokenized masks.

        Args:
            image_id: of the image.
            pointer: its payload, parsed.
            columns: those to read, the image's id among them.

        Raises:
            InputError: ``row_unreadable``.
        """
        if pointer.get("words_file") is None:
            return []
        return _read_words(self.words, pointer["words_file"], pointer["words"], columns).get(
            image_id, []
        )

    def _list_images(self, limit: int | None) -> Iterator[tuple[dict[str, str], int]]:
        words = open_words(self.words)
        corpus = open_corpus(self.corpus, needs_masks=False)
        with (
            tempfile.TemporaryDirectory() as scratch,
            closing(sqlite3.connect(Path(scratch) / "words.sqlite")) as database,
        ):
            _locate_words(database, words)
            for image_id, pointer, kinds in islice(list_rows(corpus, "texts", "kind"), limit):
                query = "select file from words where image_id = ?"
                found = database.execute(query, (image_id,)).fetchone()
                payload = {
                    **pointer,
                    "num_texts": len(kinds),
                    "words_file": found[0] if found else None,
                    "words": words.digest,
                }
                yield {"image_id": image_id, "payload": json.dumps(payload)}, len(kinds)


def _locate_words(database: sqlite3.Connection, words: WordFiles) -> None:
    """Fill a table of the file that each image's words are in; no image's are in two."""
    database.executescript(
        "pragma journal_mode=off; pragma synchronous=off;"
        "create table words (image_id text primary key, file text);"
    )
    database.executemany("insert or ignore into words values (?, ?)", words.list_images())


@lru_cache(maxsize=_WORD_FILES_AT_HAND)
def _read_words(
    location: str, name: str, digest: str, columns: tuple[str, ...]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of a file by image; `digest` is the manifest's, so that new words are read anew."""
    try:
        rows = Place.at(location).read_parquet(name, columns=list(columns)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError("row_unreadable", f"{name}: {error}") from error
    by_image: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_image.setdefault(row["image_id"], []).append(row)
    return by_image
