"""Reading what the corpus jobs wrote: which files count, and what their manifest says.

For every later stage: training, tokenization, dialogues. Only finished outputs are opened, and only
the files that their manifest names, so nothing that a killed run left behind is ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.manifest import MANIFEST_FILE, RUN_FILE
from pipelines.storage import Place
from samtok.errors import ConfigError

INGEST_STAGE: Final = "ingest_corpus"
EMBED_STAGE: Final = "embed_corpus"
TOKENIZE_STAGE: Final = "tokenize_corpus"
DIALOGUES_STAGE: Final = "build_dialogues"

_MADE_BY: Final = {
    INGEST_STAGE: "jobs/ingest_corpus.py",
    EMBED_STAGE: "jobs/embed_corpus.py",
    TOKENIZE_STAGE: "jobs/tokenize_corpus.py",
    DIALOGUES_STAGE: "jobs/build_dialogues.py",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusFiles:
    """The Parquet files of a finished Corpus (`pipelines.columns.CORPUS`)."""

    place: Place
    """Where they are."""
    files: list[str]
    """Names relative to `place`, in order; there may be none."""
    manifest: dict[str, Any]
    """What made them."""
    digest: str
    """sha256 of the manifest, in hexadecimal: the same digest, the same rows."""

    @property
    def filesystem(self) -> pafs.FileSystem:
        """For ``ray.data.read_parquet(files.paths, filesystem=files.filesystem)``."""
        return self.place.filesystem

    @property
    def paths(self) -> list[str]:
        """Paths as :attr:`filesystem` takes them."""
        return [self.place.path(name) for name in self.files]

    @property
    def num_images(self) -> int:
        """Rows."""
        figures = self.manifest["counts"]["figures"]
        return int(figures["num_images"] - figures["num_rejected_images"])

    @property
    def num_masks(self) -> int:
        """Masks of all rows."""
        return int(self.manifest["counts"]["figures"]["num_masks"])

    def read_schema(self) -> pa.Schema:
        """Schema of the rows, from the first file."""
        with self.filesystem.open_input_file(self.paths[0]) as stream:
            return pq.read_schema(stream)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingFiles(CorpusFiles):
    """The Parquet files of finished embeddings (`pipelines.columns.EMBEDDINGS`)."""

    @property
    def backbone_fingerprint(self) -> str:
        """``SAMTok.backbone_fingerprint`` of what made them."""
        return str(self.manifest["backbone_fingerprint"])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """(channels, rows, columns) by column name, for :func:`read_maps`."""
        return {name: tuple(shape) for name, shape in self.manifest["shapes"].items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizedFiles(CorpusFiles):
    """Files that hold mask words, in whatever form."""

    @property
    def tokenizer_fingerprint(self) -> str:
        """``SAMTok.fingerprint`` of what made the words."""
        return str(self.manifest["tokenizer_fingerprint"])


@dataclass(frozen=True, kw_only=True, slots=True)
class WordFiles(TokenizedFiles):
    """The Parquet files of finished mask words (`pipelines.columns.MASK_WORDS`)."""

    def list_images(self) -> Iterator[tuple[str, str]]:
        """Image id and the file that its words are in; no image's are in two. Reads ids only.

        Raises:
            ConfigError: a file cannot be read.
        """
        for name in self.files:
            try:
                ids = self.place.read_parquet(name, columns=["image_id"]).column(0).unique()
            except (OSError, pa.ArrowException, KeyError) as error:
                raise ConfigError(
                    f"{self.place.uri(name)} cannot be read as mask words: {error!r}; delete it "
                    f"and run {_MADE_BY[TOKENIZE_STAGE]} there again"
                ) from error
            for image_id in ids.to_pylist():
                yield image_id, name

    @property
    def has_reconstruction(self) -> bool:
        """Whether `reconstruction_iou` is filled."""
        return bool(self.manifest["identity"]["reconstruct"])

    @property
    def corpus_digest(self) -> str | None:
        """Digest of the Corpus that was tokenized; None where the masks came from elsewhere."""
        digest: str | None = self.manifest["identity"].get("corpus_manifest_sha256")
        return digest


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationFiles(TokenizedFiles):
    """The Parquet files of finished conversations (`pipelines.columns.CONVERSATIONS`)."""

    @property
    def num_conversations(self) -> dict[str, int]:
        """Rows by task."""
        return dict(self.manifest["counts"]["figures"]["num_conversations"])


def open_corpus(location: str, *, needs_masks: bool = True) -> CorpusFiles:
    """Find the files of a finished Corpus.

    Args:
        location: the ``--output`` of ``jobs/ingest_corpus.py``, local or ``s3://``.
        needs_masks: refuse a Corpus without a single mask.

    Raises:
        ConfigError: there is no Corpus, it is unfinished or damaged, or it has no masks; the
            message says what to do.
    """
    return CorpusFiles(**_open(location, INGEST_STAGE, needs_masks))


def open_embeddings(
    location: str, *, backbone_fingerprint: str | None = None, needs_masks: bool = True
) -> EmbeddingFiles:
    """Find the files of finished embeddings.

    Args:
        location: the ``--output`` of ``jobs/embed_corpus.py``, local or ``s3://``.
        backbone_fingerprint: of the tokenizer that will read them; None takes any.
        needs_masks: refuse embeddings without a single mask.

    Raises:
        ConfigError: there are none, they are unfinished or damaged, have no masks, or were made by
            another backbone; the message says what to do.
    """
    found = EmbeddingFiles(**_open(location, EMBED_STAGE, needs_masks))
    if backbone_fingerprint not in (None, found.backbone_fingerprint):
        raise ConfigError(
            f"the embeddings in {found.place.uri()} were made by another backbone: theirs is "
            f"{found.backbone_fingerprint}, the tokenizer's is {backbone_fingerprint}; use the "
            f"tokenizer they were made with ({found.manifest['config']['tokenizer']}), or embed "
            f"the corpus again with {_MADE_BY[EMBED_STAGE]}"
        )
    return found


def open_words(location: str) -> WordFiles:
    """Find the files of finished mask words.

    Args:
        location: the ``--output`` of ``jobs/tokenize_corpus.py``, local or ``s3://``.

    Raises:
        ConfigError: there are none, they are unfinished or damaged; the message says what to do.
    """
    return WordFiles(**_open(location, TOKENIZE_STAGE, needs_masks=False))


def open_conversations(
    location: str, *, tokenizer_fingerprint: str | None = None
) -> ConversationFiles:
    """Find the files of finished conversations.

    Args:
        location: the ``--output`` of ``jobs/build_dialogues.py``, local or ``s3://``.
        tokenizer_fingerprint: of the tokenizer in use; None takes any.

    Raises:
        ConfigError: there are none, they are unfinished or damaged, or their words are those of
            another tokenizer; the message says what to do.
    """
    found = ConversationFiles(**_open(location, DIALOGUES_STAGE, needs_masks=False))
    if tokenizer_fingerprint not in (None, found.tokenizer_fingerprint):
        raise ConfigError(
            f"the words of the conversations in {found.place.uri()} are those of another "
            f"tokenizer: its fingerprint is {found.tokenizer_fingerprint}, that of the one in use "
            f"is {tokenizer_fingerprint}; use that tokenizer, or run {_MADE_BY[TOKENIZE_STAGE]} "
            f"and {_MADE_BY[DIALOGUES_STAGE]} again"
        )
    return found


def read_maps(column: pa.ChunkedArray | pa.Array, shape: tuple[int, ...]) -> np.ndarray:
    """The maps of a column of `pipelines.columns.EMBEDDING_MAPS`, without a copy.

    Args:
        column: N rows; a single chunk is not copied.
        shape: of one map, from :attr:`EmbeddingFiles.shapes`.

    Returns:
        float16, shape (M, *shape), read-only: the M rows that are not null, in order.

    Raises:
        ValueError: the bytes are not those of such maps.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    _, offset_buffer, values = column.buffers()
    if len(column) == 0 or values is None:
        return np.empty((0, *shape), np.float16)
    ends = np.frombuffer(offset_buffer, np.int64)[column.offset :]
    # A null takes no bytes, so the others lie side by side.
    flat = np.frombuffer(values, np.uint8)[ends[0] : ends[len(column)]].view(np.float16)
    flat.flags.writeable = False
    return flat.reshape(-1, *shape)


def _open(location: str, stage: str, needs_masks: bool) -> dict[str, Any]:
    place, job = Place.at(location), _MADE_BY[stage]
    content = _read_manifest(place, job)
    try:
        manifest = json.loads(content)
        found = manifest["stage"]
        files, num_masks = manifest.get("files"), manifest["counts"]["figures"]["num_masks"]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{place.uri(MANIFEST_FILE)} is damaged ({error!r}); run {job} there again"
        ) from error
    if found != stage:
        raise ConfigError(
            f"{place.uri()} was written by {_MADE_BY.get(found, found)}, but the output of {job} "
            "is needed here"
        )
    folders = {name.split("/")[0] for name in files}
    present = {name for folder in folders for name in place.list_files(folder)}
    gone = [name for name in files if name not in present]
    if gone:
        raise ConfigError(
            f"{len(gone)} of {len(files)} files of {place.uri()} are gone, {gone[0]} among them; "
            f"run {job} there again"
        )
    if needs_masks and not num_masks:
        raise ConfigError(
            f"{place.uri()} holds no masks; {place.uri('quarantine')} says what was left out of it"
        )
    return {
        "place": place,
        "files": files,
        "manifest": manifest,
        "digest": hashlib.sha256(content).hexdigest(),
    }


def _read_manifest(place: Place, job: str) -> bytes:
    try:
        if place.exists(MANIFEST_FILE):
            return place.read_bytes(MANIFEST_FILE)
        is_begun = place.exists(RUN_FILE)
    except OSError as error:
        raise ConfigError(f"{place.uri()} cannot be read: {error}") from error
    if is_begun:
        raise ConfigError(
            f"{place.uri()} is unfinished: it has no {MANIFEST_FILE}; run {job} there again with "
            "the same command, and it does what is left"
        )
    raise ConfigError(
        f"there is nothing to read at {place.uri()}: no {MANIFEST_FILE}; make it with {job} "
        f"--output {place.uri()}"
    )
