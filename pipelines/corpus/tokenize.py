"""A corpus in, mask words out: the tokenization job.

`run_tokenization` lists the corpus, streams it through decoding, a pool of tokenizer actors and the
writer, and sums up. Killed and run again with the same settings, it does only what is left. From
stored embeddings it needs neither images nor backbone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ray.data import Dataset

from pipelines.corpus.actor_pool import ActorJobConfig, build_actor_dataset
from pipelines.corpus.commits import Ledger
from pipelines.corpus.job_config import build_source
from pipelines.corpus.preview import write_preview
from pipelines.corpus.records import Source
from pipelines.corpus.run import RunSummary, Todo, plan_blocks, run_blocks, write_run_manifest
from pipelines.corpus.sources.embeddings import EmbeddingsSource
from pipelines.corpus.tokenize_stage import TokenizeStage
from pipelines.corpus.word_rows import WORDS_FOLDER, build_words_block
from pipelines.corpus_reader import TOKENIZE_STAGE
from pipelines.setting_checks import at_least
from pipelines.storage import Place
from samtok.errors import ConfigError
from samtok.tokenizer import SAMTok


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizeConfig(ActorJobConfig):
    """Settings of the tokenization job."""

    embeddings: str | None = None
    """corpus: the --output of jobs/embed_corpus.py, local or s3://, instead of --corpus. The
    backbone is then never run; it must be the tokenizer's."""
    reconstruct: bool = False
    """Decode every mask again and fill reconstruction_iou; the heads then work twice."""
    preview_images: int = 6
    """Rows of the picture of masks beside their reconstructions; 0 draws none."""

    def __post_init__(self) -> None:
        ActorJobConfig.__post_init__(self)  # super() does not find its way in slotted classes
        at_least(0, "preview_images", self.preview_images)
        if self.embeddings and self.source != "corpus":
            raise ConfigError(f"--embeddings needs --source corpus, not {self.source}")
        if self.embeddings and self.corpus:
            raise ConfigError(
                "--corpus and --embeddings are both given; embeddings carry the masks, so give one"
            )

    @property
    def needs_corpus(self) -> bool:
        """Whether the masks come from the Corpus."""
        return self.source == "corpus" and not self.embeddings


def run_tokenization(config: TokenizeConfig) -> RunSummary:
    """Tokenize a corpus; resumes what an earlier run with the same settings left.

    Raises:
        ConfigError: the source cannot be read, or the embeddings are of another backbone; nothing
            has run.
        CheckpointError: the tokenizer cannot be loaded, or the output belongs to other settings.
    """
    if not config.embeddings:
        build_source(config).check()  # before the tokenizer, which takes a while to load
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    source, ledger = _build_source(config, tokenizer), build_ledger(config)
    source.check()
    image_size, fingerprint = tokenizer.config.image_size, tokenizer.fingerprint
    run = run_blocks(
        source,
        ledger,
        identity={"tokenizer_fingerprint": fingerprint, "reconstruct": config.reconstruct},
        limit=config.limit,
        verb="tokenizing",
        build_dataset=lambda todo: build_dataset(config, source, ledger, todo, image_size),
    )
    preview = write_preview(source, ledger.output, run.index, tokenizer, config.preview_images)
    summary = dataclasses.replace(run.summary, preview=preview)
    run = dataclasses.replace(run, summary=summary)
    write_run_manifest(
        ledger,
        run,
        stage=TOKENIZE_STAGE,
        config=config,
        tokenizer_fingerprint=fingerprint,
        backbone_fingerprint=tokenizer.backbone_fingerprint,
    )
    return summary


def plan_tokenization(config: TokenizeConfig) -> dict[str, Any]:
    """What `run_tokenization` would do; lists the corpus into a scratch folder, runs nothing."""
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    source = _build_source(config, tokenizer)
    source.check()
    return {
        **plan_blocks(source, build_ledger(config), limit=config.limit),
        "network input": f"{tokenizer.config.image_size} x {tokenizer.config.image_size}",
        "tokenizer fingerprint": tokenizer.fingerprint,
    }


def build_ledger(config: TokenizeConfig) -> Ledger:
    """The books of the output."""
    return Ledger(output=Place.at(config.output), folder=WORDS_FOLDER)


def build_dataset(
    config: TokenizeConfig, source: Source, ledger: Ledger, todo: Todo, image_size: int
) -> Dataset:
    """The lazy dataset: decode, tokenize, write; gives one small summary row per block."""
    return build_actor_dataset(
        config,
        source,
        ledger,
        todo,
        image_size=image_size,
        stage=TokenizeStage,
        stage_arguments={
            "reconstruct": config.reconstruct,
            "is_embedded": config.embeddings is not None,
        },
        build_block=build_words_block,
    )


def _build_source(config: TokenizeConfig, tokenizer: SAMTok) -> Source:
    if config.embeddings is None:
        return build_source(config)
    return EmbeddingsSource(
        embeddings=config.embeddings,
        backbone_fingerprint=tokenizer.backbone_fingerprint,
        images_per_shard=config.images_per_block,
    )
