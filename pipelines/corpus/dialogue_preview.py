"""A picture at the end of the job: samples of every task, with their masks over the image."""

from __future__ import annotations

import io
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
    encoded = io.BytesIO()
    dialogue_panel(items).save(encoded, format="PNG")
    output.write_bytes(PREVIEW_FILE, encoded.getvalue())
    return output.uri(PREVIEW_FILE)


def _sample(output: Place, run: FinishedRun, num_samples: int) -> dict[str, list[dict[str, Any]]]:
    """Conversations by task, of different images as far as a few files give them."""
    made = run.summary.figures.num_conversations
    wanted = {task: min(num_samples, made.get(task, 0)) for task in TASK_NAMES}
    found: dict[str, list[dict[str, Any]]] = {task: [] for task in TASK_NAMES}
    spare: dict[str, list[dict[str, Any]]] = {task: [] for task in TASK_NAMES}
    for name in run.files[:_MAX_FILES] if num_samples else ():
        if all(len(found[task]) >= wanted[task] for task in TASK_NAMES):
            break
        for row in output.read_parquet(name).to_pylist():
            task = row["task"]
            is_new = all(row["image_id"] != other["image_id"] for other in found[task])
            chosen = found if is_new else spare
            if len(chosen[task]) < wanted[task]:
                chosen[task].append(row)
    return {task: [*found[task], *spare[task]][: wanted[task]] for task in TASK_NAMES}


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
        words = source.read_words(row["image_id"], payload, ("image_id", "words", "rle"))
    except InputError:
        return None  # gone since
    return DialogueItem(
        title=row["task"].replace("_", " "),
        image=image,
        turns=[(message["role"], message["content"]) for message in row["messages"]],
        masks={mask["words"]: decode_rle(mask["rle"]) for mask in words},
    )
