"""A picture at the end of the job: samples of every task, with their masks over the image."""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from pipelines.corpus.dialogue_source import DialogueSource
from pipelines.corpus.index import iterate_rows
from pipelines.corpus.run import FinishedRun
from pipelines.image_decoding import open_row_image
from pipelines.storage import Place
from samtok.dialogue_panel import DialogueItem, dialogue_panel
from samtok.errors import InputError
from samtok.masks import decode_rle
from samtok.tasks import TASK_NAMES

PREVIEW_FILE: Final = "preview.png"
_MAX_FILES: Final = 32


def write_dialogue_preview(
    source: DialogueSource, output: Place, run: FinishedRun, num_samples: int
) -> str | None:
    """Draw `num_samples` conversations of every task; returns the picture's address."""
    sampled = _sample(output, run, num_samples)
    rows = [row for task in TASK_NAMES for row in sampled[task]]
    payloads = _find_payloads(output, run, {row["image_id"] for row in rows})
    items = [item for row in rows if (item := _show(source, row, payloads[row["image_id"]]))]
    if not items:
        return None
    output.write_png(PREVIEW_FILE, dialogue_panel(items))
    return output.uri(PREVIEW_FILE)


def _sample(output: Place, run: FinishedRun, num_samples: int) -> dict[str, list[dict[str, Any]]]:
    """Conversations by task, mixed, of different images as far as a few files give them."""
    found: dict[str, list[dict[str, Any]]] = {task: [] for task in TASK_NAMES}
    missing = {task for task, count in run.summary.figures.num_conversations.items() if count}
    for name in run.files[:_MAX_FILES] if num_samples else ():
        rows = output.read_parquet(name).to_pylist()
        rows.sort(key=lambda row: zlib.crc32(row["conversation_id"].encode()))
        for task in sorted(missing):
            first_of_image: dict[str, dict[str, Any]] = {}
            for row in rows:
                if row["task"] == task:
                    first_of_image.setdefault(row["image_id"], row)
            found[task] += first_of_image.values()
        missing = {task for task in missing if len(found[task]) < num_samples}
        if not missing:
            break
    return {task: rows[:num_samples] for task, rows in found.items()}


def _find_payloads(output: Place, run: FinishedRun, image_ids: set[str]) -> dict[str, str]:
    payloads: dict[str, str] = {}
    for row in iterate_rows(output, run.index.shards):
        if len(payloads) == len(image_ids):
            break
        if row["image_id"] in image_ids:
            payloads[row["image_id"]] = row["payload"]
    return payloads


def _show(source: DialogueSource, row: dict[str, Any], payload: str) -> DialogueItem | None:
    try:
        image = open_row_image(row)
        columns = ("image_id", "words", "rle")
        words = source.read_words(row["image_id"], json.loads(payload), columns)
    except InputError:
        return None  # gone since
    return DialogueItem(
        title=row["task"].replace("_", " "),
        image=image,
        turns=[(message["role"], message["content"]) for message in row["messages"]],
        masks={mask["words"]: decode_rle(mask["rle"]) for mask in words},
    )
