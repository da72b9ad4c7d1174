"""Masks in, a report of what two words keep of them out: the evaluation of a tokenizer.

`run_evaluation` lists the images, streams them through a pool of tokenizer actors, adds up on the
driver the few numbers per mask that come back, and writes the report with its pictures.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from ray.data import Dataset

from pipelines import columns, manifest
from pipelines.cluster import connect
from pipelines.corpus_reader import open_corpus
from pipelines.evaluation.images import (
    IMAGES,
    CorpusImages,
    ImageSource,
    Listing,
    SceneImages,
)
from pipelines.evaluation.measure_stage import MeasureStage, measures_of
from pipelines.evaluation.overlap_stage import OverlapStage
from pipelines.evaluation.pictures import Candidates, write_pictures
from pipelines.evaluation.report import build_sections
from pipelines.evaluation.sections import as_markdown
from pipelines.evaluation.streaming import ReadStage, stream
from pipelines.evaluation.summary import EvaluationSummary
from pipelines.progress import Progress
from pipelines.setting_checks import above_zero, at_least
from pipelines.storage import Place
from samtok.errors import ConfigError
from samtok.metrics.baselines import BASELINES
from samtok.metrics.image_measures import MeasureConfig
from samtok.metrics.stability import DEFAULT_NOISE_SIGMA
from samtok.metrics.tokenizer_report import TokenizerTally
from samtok.rewards import ExpectedIou
from samtok.rewards.similarity import EXPECTED_IOU_FILE, ExpectedIouTally
from samtok.tokenizer import SAMTok

REPORT_FILE: Final = "report.json"
MARKDOWN_FILE: Final = "report.md"
TITLE: Final = "Evaluation of a mask tokenizer"
QUARANTINE_FOLDER: Final = "quarantine"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateTokenizerConfig:
    """Settings of the evaluation."""

    output: str
    """Folder or s3:// prefix to write to; an earlier report there is replaced."""
    source: Literal["corpus", "scenes"] = "corpus"
    """corpus: a Corpus made by jobs/ingest_corpus.py. scenes: built-in scenes, no files needed."""
    corpus: str | None = None
    """corpus: output of jobs/ingest_corpus.py, a folder or s3:// prefix."""
    num_images: int = 300
    """scenes: how many."""
    split: Literal["train", "val", "test"] = "val"
    """scenes: which split."""
    scenes_seed: int = 0
    """scenes: which world of scenes."""
    tokenizer: str = "tiny"
    """tiny (packaged), a folder with config.json and model.safetensors, or a published .pth file.
    Every node must be able to read it."""
    limit: int | None = None
    """Only the first so many images."""
    baselines: bool = True
    """Measure boxes, polygons and bitmaps too, at equal length and longer."""
    stability: bool = False
    """Encode every mask again shifted by a pixel, dilated by a pixel, and on the image with noise;
    about three times the work."""
    noise_sigma: float = DEFAULT_NOISE_SIGMA
    """stability: standard deviation of the noise, in units of 0..255; 0 or more."""
    seed: int = 0
    """Of directions and noise of --stability, and of the masks that --expected-iou compares with; 0
    or more."""
    expected_iou: bool = False
    """Estimate how much two masks overlap, given their first words, and write it as
    OUTPUT/expected_iou.safetensors. Put beside the tokenizer, it is what --rewards.similarity
    expected_iou of jobs/train_grpo.py compares words by. Decodes 64 masks or more on each image."""
    panel_masks: int = 6
    """Masks in each of the panel's three columns, worst, median and best; 0 draws none."""
    num_actors: int | None = None
    """Tokenizer actors; default: as many as the cluster's GPUs (or CPUs) hold."""
    cpus_per_actor: float = 1.0
    """CPUs an actor may use; its torch threads. It reserves three quarters of them with Ray, so
    that reading finds room."""
    gpus_per_actor: float = 0.0
    """GPUs per actor: 0 runs on the CPU; 0.5 puts two actors on a GPU."""
    images_per_batch: int = 8
    """Images handed to an actor at a time. Does not change the figures."""

    def __post_init__(self) -> None:
        for name in ("images_per_batch", "num_images", "limit", "num_actors"):
            at_least(1, name, getattr(self, name))
        for name in ("noise_sigma", "seed", "scenes_seed", "panel_masks", "gpus_per_actor"):
            at_least(0, name, getattr(self, name))
        above_zero("cpus_per_actor", self.cpus_per_actor)
        if self.source == "corpus" and not self.corpus:
            raise ConfigError(
                "--source corpus needs --corpus FOLDER; --source scenes needs no files"
            )
        if self.source == "scenes" and self.corpus:
            raise ConfigError(
                f"--corpus is {self.corpus} and --source is scenes; leave one of them out"
            )


def build_source(config: EvaluateTokenizerConfig) -> ImageSource:
    """The images that a config asks for; raises ConfigError where there is no such Corpus."""
    if config.source == "scenes":
        return SceneImages(
            num_images=config.num_images, split=config.split, seed=config.scenes_seed
        )
    assert config.corpus is not None
    return CorpusImages(files=open_corpus(config.corpus))


def build_measures(config: EvaluateTokenizerConfig) -> MeasureConfig:
    """What a config asks to be measured."""
    return MeasureConfig(
        baselines=BASELINES if config.baselines else (),
        stability=config.stability,
        noise_sigma=config.noise_sigma,
    )


def run_evaluation(config: EvaluateTokenizerConfig) -> EvaluationSummary:
    """Evaluate a tokenizer and write what was found.

    Raises:
        ConfigError: the images cannot be read; nothing has run.
        CheckpointError: the tokenizer cannot be loaded; nothing has run.
    """
    began = time.monotonic()
    source, output = build_source(config), Place.at(config.output)
    identity = source.identity()
    listing = source.list_blocks(config.limit)
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    for stale in (
        manifest.MANIFEST_FILE,
        QUARANTINE_FOLDER,
        EXPECTED_IOU_FILE,
    ):  # of an earlier one
        output.delete(stale)
    connect()
    tally = TokenizerTally(
        baselines=build_measures(config).baselines, codebook_size=tokenizer.config.codebook_size
    )
    counts: Counter[str] = Counter()
    candidates, quarantined = Candidates(), []
    dataset = build_dataset(config, source, listing)
    with Progress(listing.num_images, verb="measuring") as progress:
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            rows = block.to_pylist()
            for row in rows:
                tally.add(measures_of(row), row["categories"])
                candidates.add(row)
                quarantined += row["quarantined"]
                counts.update(images=1, masks=row["num_masks"], crowds=row["num_crowds"])
            progress.advance(len(rows), sum(row["num_masks"] for row in rows))
    if config.expected_iou:
        table = estimate_expected_iou(config, source, listing, tokenizer.fingerprint)
        output.write_bytes(EXPECTED_IOU_FILE, table.to_bytes())
    report = tally.report()
    chosen = candidates.choose(config.panel_masks)
    summary = EvaluationSummary(
        output=output.uri(),
        tokenizer=config.tokenizer,
        tokenizer_fingerprint=tokenizer.fingerprint,
        report=report,
        num_images_listed=listing.num_images,
        num_images_seen=counts["images"],
        num_masks_listed=counts["masks"],
        num_crowds=counts["crowds"],
        quarantined=dict(Counter(row["reason"] for row in quarantined).most_common()),
        pictures=[
            output.uri(name) for name in write_pictures(output, report, chosen, source, tokenizer)
        ],
        seconds=time.monotonic() - began,
    )
    _write(output, config, identity, summary, quarantined)
    return summary


def build_dataset(
    config: EvaluateTokenizerConfig, source: ImageSource, listing: Listing
) -> Dataset:
    """The lazy dataset: read, measure; gives one row of `MEASURED` per image."""
    return stream(
        listing.blocks,
        ReadStage(source, IMAGES),
        MeasureStage,
        (config.tokenizer,),
        {"config": build_measures(config), "seed": config.seed},
        config,
        batch_size=config.images_per_batch,
    )


def estimate_expected_iou(
    config: EvaluateTokenizerConfig, source: ImageSource, listing: Listing, fingerprint: str
) -> ExpectedIou:
    """How much masks overlap by their first words, over all images; for the reward soft_matching.

    On each image masks of the other images of its block are decoded beside its own, since what a
    model gets wrong is some other mask's words.
    """
    dataset = stream(
        listing.blocks,
        ReadStage(source, IMAGES),
        OverlapStage,
        (config.tokenizer,),
        {"seed": config.seed},
        config,
        batch_size=None,
    )
    tally = ExpectedIouTally()
    with Progress(
        listing.num_images, verb="estimating expected IoU", items="pairs of words"
    ) as progress:
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            rows = block.to_pylist()
            for row in rows:
                tally.add_cells(
                    np.array(row["cells"], dtype=np.int64),
                    np.array(row["sums"], dtype=np.float64),
                    np.array(row["counts"], dtype=np.int64),
                )
            progress.advance(len(rows), sum(sum(row["counts"]) for row in rows))
    return tally.estimate(fingerprint)


def _write(
    output: Place,
    config: EvaluateTokenizerConfig,
    identity: dict[str, Any],
    summary: EvaluationSummary,
    quarantined: list[dict[str, Any]],
) -> None:
    """Write quarantine and report, and the manifest last."""
    if quarantined:
        rows = sorted(quarantined, key=lambda row: (row["image_id"], row["mask_id"] or ""))
        table = pa.Table.from_pylist(rows, schema=columns.QUARANTINE)
        output.write_parquet(f"{QUARANTINE_FOLDER}/part-000000.parquet", table)
    figures = {
        "tokenizer": config.tokenizer,
        "tokenizer_fingerprint": summary.tokenizer_fingerprint,
        "images": identity,
        **summary.report.to_json(),
    }
    manifest.write_json(output, REPORT_FILE, figures)
    output.write_bytes(MARKDOWN_FILE, as_markdown(TITLE, build_sections(summary)).encode())
    counts = dataclasses.asdict(summary)
    del counts["report"]
    manifest.write_json(
        output,
        manifest.MANIFEST_FILE,
        {
            "stage": "evaluate_tokenizer",
            "config": dataclasses.asdict(config),
            "identity": {**identity, "limit": config.limit},
            "tokenizer_fingerprint": summary.tokenizer_fingerprint,
            "counts": counts,
            "versions": manifest.describe_code(),
        },
    )
