"""Settings that all jobs over a corpus share: which corpus, where to write, how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.corpus.records import Source
from pipelines.corpus.sources.coco import CocoSource
from pipelines.corpus.sources.corpus import CorpusSource
from pipelines.corpus.sources.scenes import ScenesSource
from pipelines.setting_checks import at_least
from samtok.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusJobConfig:
    """Settings of any job over a corpus."""

    source: Literal["coco", "scenes", "corpus"]
    """coco: COCO instances JSON with an image folder. scenes: built-in scenes, no files needed.
    corpus: Parquet that jobs/ingest_corpus.py wrote."""
    output: str
    """Folder or s3:// prefix to write to; a run that was killed there is continued."""
    annotations: str | None = None
    """coco: the instances JSON, local or s3://."""
    images: str | None = None
    """coco: the image folder, local or s3://."""
    corpus: str | None = None
    """corpus: the --output of jobs/ingest_corpus.py, local or s3://."""
    num_images: int = 200
    """scenes: how many."""
    split: Literal["train", "val", "test"] = "train"
    """scenes: which split."""
    seed: int = 0
    """scenes: which world of scenes."""
    limit: int | None = None
    """Only the first so many images."""
    images_per_block: int = 128
    """Images listed per block, the unit of resuming: at most this many are lost per actor."""
    dry_run: bool = False
    """List the corpus, check the settings, say what would run, and stop."""

    def __post_init__(self) -> None:
        at_least(1, "images_per_block", self.images_per_block)
        at_least(1, "limit", self.limit)
        if self.source == "coco" and not (self.annotations and self.images):
            raise ConfigError("--source coco needs --annotations FILE and --images FOLDER")
        if self.needs_corpus and not self.corpus:
            raise ConfigError(
                "--source corpus needs --corpus FOLDER, the output of jobs/ingest_corpus.py"
            )

    @property
    def needs_corpus(self) -> bool:
        """Whether the masks come from the Corpus."""
        return self.source == "corpus"


def build_source(config: CorpusJobConfig) -> Source:
    """The reader that a config asks for."""
    if config.source == "coco":
        assert config.annotations is not None
        assert config.images is not None
        return CocoSource(
            annotations=config.annotations,
            images=config.images,
            images_per_shard=config.images_per_block,
        )
    if config.source == "corpus":
        assert config.corpus is not None
        return CorpusSource(corpus=config.corpus, images_per_shard=config.images_per_block)
    return ScenesSource(
        num_images=config.num_images,
        split=config.split,
        seed=config.seed,
        images_per_shard=config.images_per_block,
    )
