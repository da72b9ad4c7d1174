"""The frame of every job over a corpus: list it, do what is left block by block, sum up.

What is done to the images is the dataset that a job builds; it gives one `BLOCK_SUMMARY` row per
block that it has written into the job's ledger.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.data import Dataset

from pipelines import manifest
from pipelines.cluster import connect
from pipelines.corpus.commits import Figures, Ledger, add_figures
from pipelines.corpus.index import prepare_index
from pipelines.corpus.records import Index, Listing
from pipelines.progress import Progress
from pipelines.storage import Place
from samtok.errors import CheckpointError

_MAX_PASSES = 3

Todo = list[dict[str, Any]]
"""Rows of `stages.SHARDS`: index shards with images left to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """What a run did and what its output holds."""

    output: str
    figures: Figures
    """Over everything in the output, earlier runs included."""
    num_masks_listed: int
    """Rows in: annotations of the corpus, good and bad."""
    num_quarantined_masks: int
    """Masks among the quarantined rows."""
    images_done_now: int
    """Images this run dealt with."""
    images_embedded_now: int
    """Backbone passes of this run."""
    seconds: float
    """Of this run, start-up included."""
    seconds_streaming: float
    """From the first finished block to the last; 0 with fewer than two."""
    images_streamed: int
    """Images finished after the first block."""
    items_streamed: int
    """Masks (of dialogues: conversations) finished after the first block."""
    num_texts_listed: int | None = None
    """Texts in, without those left out while listing; None where the source does not count them."""
    preview: str | None = None
    """Path of the picture, where the job draws one."""

    @property
    def is_accounted(self) -> bool:
        """Rows in = rows out + rows quarantined, for masks and for texts."""
        figures = self.figures
        texts = figures.num_texts + figures.num_undrawn_texts + figures.num_quarantined_texts
        has_all_texts = self.num_texts_listed in (None, texts)
        has_all_masks = self.num_masks_listed == figures.num_masks + self.num_quarantined_masks
        return has_all_masks and has_all_texts

    @property
    def num_images_out(self) -> int:
        """Images that were not rejected."""
        return self.figures.num_images - self.figures.num_rejected_images


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedRun:
    """A run whose every image is dealt with, before its manifest is written."""

    summary: RunSummary
    index: Index
    files: list[str]
    """Files of rows that count, relative to the output."""


def run_blocks(
    source: Listing,
    ledger: Ledger,
    *,
    identity: dict[str, Any],
    limit: int | None,
    verb: str,
    items: str = "masks",
    build_dataset: Callable[[Todo], Dataset],
) -> FinishedRun:
    """Do all images of a source that `ledger` does not hold yet.

    Args:
        source: the corpus, checked.
        ledger: of the job's output.
        identity: what must be equal in every run that writes there, besides the source.
        limit: only the first so many images.
        verb: what is done to images, for the progress bar.
        items: what is made of them, in the plural, likewise.
        build_dataset: the lazy dataset that does it; called once connected to the cluster.

    Raises:
        ConfigError: the source cannot be listed; nothing has run.
        CheckpointError: the output belongs to other settings, or images are left after all.
    """
    began = time.monotonic()
    output = ledger.output
    identity = {**source.identity(), "limit": limit, **identity}
    begun = manifest.is_begun(output, identity)
    index = prepare_index(source, output, limit=limit, begun=begun)
    manifest.write_json(output, manifest.RUN_FILE, identity)
    commits = ledger.reconcile()
    before = add_figures(commits)
    progress = Progress(index.num_images, done=before.num_images, verb=verb, items=items)
    for _ in range(_MAX_PASSES):
        todo = _list_remaining(output, index, {i for c in commits for i in c.image_ids})
        if not todo:
            break
        connect()
        with progress:
            for block in build_dataset(todo).iter_batches(batch_size=None, batch_format="pyarrow"):
                for row in block.to_pylist():
                    progress.advance(row["num_images"], row["num_items"])
        commits = ledger.reconcile()
    figures = add_figures(commits)
    if figures.num_images != index.num_images:
        raise CheckpointError(
            f"{figures.num_images} of {index.num_images} images are done after {_MAX_PASSES} "
            "passes; run the same command again"
        )
    summary = RunSummary(
        output=output.uri(),
        figures=figures + Figures(quarantined=index.quarantined),
        num_masks_listed=index.num_masks + index.num_quarantined_masks,
        num_quarantined_masks=figures.num_quarantined_masks + index.num_quarantined_masks,
        images_done_now=figures.num_images - before.num_images,
        images_embedded_now=figures.num_embedded - before.num_embedded,
        seconds=time.monotonic() - began,
        seconds_streaming=progress.seconds_streaming,
        images_streamed=progress.rows_streamed,
        items_streamed=progress.items_streamed,
        num_texts_listed=index.num_texts,
    )
    return FinishedRun(summary=summary, index=index, files=ledger.data_files(commits))


def write_run_manifest(
    ledger: Ledger, run: FinishedRun, *, stage: str, config: Any, **facts: Any
) -> None:
    """Write the manifest, unless the run did nothing and there is one already.

    Args:
        ledger: of the job's output.
        run: what came of it.
        stage: name of the job.
        config: its settings, a dataclass.
        **facts: what else readers should know: fingerprints, shapes.
    """
    output = ledger.output
    if not run.summary.images_done_now and output.exists(manifest.MANIFEST_FILE):
        return
    manifest.write_json(
        output,
        manifest.MANIFEST_FILE,
        {
            "stage": stage,
            "config": dataclasses.asdict(config),
            "identity": manifest.read_json(output, manifest.RUN_FILE),
            **facts,
            "counts": dataclasses.asdict(run.summary),
            "versions": manifest.describe_code(),
            "files": run.files,
        },
    )


def plan_blocks(source: Listing, ledger: Ledger, *, limit: int | None) -> dict[str, Any]:
    """What a run would find to do; lists the corpus into a scratch folder, runs nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        index = source.write_index(Place.at(scratch), limit=limit)
    return {
        "images": index.num_images,
        "images done already": sum(len(c.image_ids) for c in ledger.read_commits()),
        "masks": index.num_masks + index.num_quarantined_masks,
        **({} if index.num_texts is None else {"texts": index.num_texts}),
        "quarantined while listing": index.quarantined,
    }


def _list_remaining(output: Place, index: Index, done: set[str]) -> Todo:
    todo = []
    for shard in index.shards:
        ids = output.read_parquet(shard, columns=["image_id"]).column(0).to_pylist()
        finished = [image_id for image_id in ids if image_id in done]
        if len(finished) < len(ids):
            todo.append({"shard": shard, "done": finished})
    return todo
