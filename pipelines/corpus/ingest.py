"""Any source in, a Corpus out: one Parquet row per image, with its checked masks and its texts.

Every later stage reads the Corpus (`pipelines.columns.CORPUS`, through `pipelines.corpus_reader`)
and no longer needs to know which format an image came from.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from ray.data import Dataset

from pipelines import columns
from pipelines.corpus.commits import Block, Figures, Ledger
from pipelines.corpus.job_config import CorpusJobConfig, build_source
from pipelines.corpus.records import DecodedImage, Source
from pipelines.corpus.run import RunSummary, Todo, plan_blocks, run_blocks, write_run_manifest
from pipelines.corpus.sources.coco import CocoSource
from pipelines.corpus.stages import list_todo, summarize
from pipelines.corpus.task_pool import build_task_dataset
from pipelines.corpus_reader import INGEST_STAGE
from pipelines.quarantined_row import QuarantinedRow
from pipelines.setting_checks import at_least
from pipelines.storage import Place
from samtok.errors import ConfigError, InputError

CORPUS_FOLDER: Final = "corpus"
_BYTES_PER_GROUP = 1 << 25
_BYTES_PER_FILE = 1 << 27


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig(CorpusJobConfig):
    """Settings of the ingestion job."""

    carry_images: Literal["auto", "yes", "no"] = "auto"
    """Whether rows hold the encoded image beside its uri. auto: where it has no file (scenes, as
    PNG), and where the corpus read carries it. yes: the files' bytes as they are, so that readers
    need no access to them."""
    refs: str | None = None
    """coco: referring expressions for the annotations, a JSON list in the manner of gRefCOCO, local
    or s3://."""
    refs_split: str | None = None
    """coco: only refs of this split; default: all."""
    texts: str | None = None
    """coco: texts of all kinds, JSON lines as jobs/make_scenes.py writes them, local or s3://. They
    hold the expressions of its refs too, so give one of both."""
    num_workers: int | None = None
    """Images are opened by so many tasks at a time; default: as many as the cluster has CPUs."""

    def __post_init__(self) -> None:
        CorpusJobConfig.__post_init__(self)  # super() does not find its way in slotted classes
        at_least(1, "num_workers", self.num_workers)
        for flag in ("refs", "texts"):
            if getattr(self, flag) and self.source != "coco":
                raise ConfigError(f"--{flag} needs --source coco, not {self.source}")
        if self.refs_split and not self.refs:
            raise ConfigError("--refs-split needs --refs")


def run_ingestion(config: IngestConfig) -> RunSummary:
    """Ingest a corpus; resumes what an earlier run with the same settings left.

    Raises:
        ConfigError: the source cannot be read; nothing has run.
        CheckpointError: the output belongs to other settings.
    """
    source, ledger = build_ingest_source(config), build_ledger(config)
    source.check()
    run = run_blocks(
        source,
        ledger,
        identity={"carry_images": config.carry_images},
        limit=config.limit,
        verb="ingesting",
        build_dataset=lambda todo: build_dataset(config, source, ledger, todo),
    )
    write_run_manifest(ledger, run, stage=INGEST_STAGE, config=config)
    return run.summary


def plan_ingestion(config: IngestConfig) -> dict[str, Any]:
    """What `run_ingestion` would do; runs nothing."""
    source = build_ingest_source(config)
    source.check()
    return plan_blocks(source, build_ledger(config), limit=config.limit)


def build_ingest_source(config: IngestConfig) -> Source:
    """The reader that the config asks for, texts included."""
    source = build_source(config)
    if not isinstance(source, CocoSource):
        return source
    return dataclasses.replace(
        source, refs=config.refs, refs_split=config.refs_split, texts=config.texts
    )


def build_ledger(config: IngestConfig) -> Ledger:
    """The books of the output."""
    return Ledger(
        output=Place.at(config.output), folder=CORPUS_FOLDER, bytes_per_group=_BYTES_PER_GROUP
    )


def build_dataset(config: IngestConfig, source: Source, ledger: Ledger, todo: Todo) -> Dataset:
    """The lazy dataset: read and write a shard at a time; gives a small summary row per block."""
    return build_task_dataset(
        todo, IngestStage(source, ledger, config.carry_images), config.num_workers
    )


class IngestStage:
    """Read index shards, open and check their images, and write them, on CPU workers.

    Nothing travels through the object store: a task writes what it read, and says so.

    Columns in: `SHARDS`. Columns out: `BLOCK_SUMMARY`, one row per block. State held: none.

    Args:
        source: the corpus.
        ledger: of the job's output.
        carry_images: auto, yes or no, as in `IngestConfig`.
    """

    def __init__(self, source: Source, ledger: Ledger, carry_images: str) -> None:
        self._source = source
        self._ledger = ledger
        self._carry_images = carry_images

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Summaries of blocks from a table of `SHARDS`."""
        images: list[dict[str, Any]] = []
        num_bytes = 0
        for row in list_todo(self._ledger.output, table):
            image = self._source.decode(row["image_id"], row["payload"], with_texts=True)
            images.append(self._to_row(image))
            num_bytes += len(images[-1]["image"] or b"")
            if num_bytes >= _BYTES_PER_FILE:  # shards of large images make several blocks
                yield summarize(self._ledger.write_block(build_corpus_block(images)))
                images, num_bytes = [], 0
        if images:
            yield summarize(self._ledger.write_block(build_corpus_block(images)))

    def _to_row(self, image: DecodedImage) -> dict[str, Any]:
        texts, dangling = _split_texts(image)
        return {
            "image_id": image.image_id,
            "image_uri": image.image_uri,
            "height": image.height,
            "width": image.width,
            "source": image.source,
            "image": self._content(image),
            "masks": [asdict(mask) for mask in image.masks],
            "texts": texts,
            "num_quarantined_texts": len(dangling),
            "is_rejected": image.is_rejected,
            "quarantined": [asdict(row) for row in [*image.quarantined, *dangling]],
        }

    def _content(self, image: DecodedImage) -> bytes | None:
        is_carried = self._carry_images == "yes" or (
            self._carry_images == "auto" and image.is_carried
        )
        if not is_carried or image.pixels is None:
            return None
        return encode_png(image.pixels) if image.content is None else image.content


def build_corpus_block(images: list[dict[str, Any]]) -> Block:
    """A block of Corpus rows; rejected images give none."""
    kept = [image for image in images if not image["is_rejected"]]
    return Block(
        image_ids=[image["image_id"] for image in images],
        table=pa.Table.from_pylist(kept, schema=columns.CORPUS),
        quarantined=[row for image in images for row in image["quarantined"]],
        figures=Figures(
            num_images=len(images),
            num_rejected_images=len(images) - len(kept),
            num_masks=sum(len(image["masks"]) for image in kept),
            num_texts=sum(len(image["texts"]) for image in kept),
            num_quarantined_texts=sum(image["num_quarantined_texts"] for image in images),
            num_bytes=sum(len(image["image"] or b"") for image in kept),
        ),
    )


def encode_png(pixels: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), RGB, as a PNG file."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    return encoded.getvalue()


def _split_texts(image: DecodedImage) -> tuple[list[dict[str, Any]], list[QuarantinedRow]]:
    """Texts whose masks are all there, and quarantined rows of those that would point at none."""
    present = {mask.mask_id for mask in image.masks}
    kept, dangling = [], []
    for text in image.texts:
        named = {i for entry in (text, *text["spans"]) for i in entry["mask_ids"]}
        if image.is_rejected:
            error = InputError("text_image_rejected", f"the image of {text['text']!r} is left out")
        elif named <= present:
            kept.append(text)
            continue
        else:
            missing = sorted(named - present)
            error = InputError(
                "text_mask_missing",
                f"a {text['kind']} text speaks of masks that are not there: {missing}",
            )
        dangling.append(
            QuarantinedRow.of(
                error, source=image.source, image_id=image.image_id, mask_id=None, stage="ingest"
            )
        )
    return kept, dangling
