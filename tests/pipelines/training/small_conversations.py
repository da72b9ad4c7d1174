"""Conversations about small images of noise, as a finished job leaves them."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipelines import columns
from samtok.words import format_codes


def conversation_row(index, **changes):
    """A row that can be learned from: one round or two, answered by one to three masks."""
    rng = np.random.default_rng(index)
    height, width = 32, int(rng.integers(32, 64))
    encoded = io.BytesIO()
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(encoded, format="PNG")
    messages = []
    for _ in range(1 + index % 2):
        words = format_codes(rng.integers(0, 256, (1 + index % 3, 2)))
        messages += [
            {"role": "user", "content": "Segment the red cup."},
            {"role": "assistant", "content": "".join(words)},
        ]
    row = {
        "conversation_id": f"talk-{index}",
        "task": "referring_segmentation" if index % 2 else "interactive_segmentation",
        "image_id": f"noise-{index}",
        "image_uri": f"nowhere/{index}.png",
        "image": encoded.getvalue(),
        "height": height,
        "width": width,
        "messages": messages,
        "target_words": words,
        "mask_ids": [str(position) for position in range(len(words))],
        "source": "test",
    }
    return {**row, **changes}


def write_conversations(folder, rows, tokenizer_fingerprint, *, rows_per_group=8):
    """A folder as ``jobs/build_dialogues.py`` leaves it."""
    (folder / "conversations").mkdir(parents=True)
    name = "conversations/part-000000.parquet"
    table = pa.Table.from_pylist(rows, schema=columns.CONVERSATIONS)
    pq.write_table(table, folder / name, row_group_size=rows_per_group)
    tasks = [row["task"] for row in rows]
    figures = {
        "num_masks": sum(len(row["mask_ids"]) for row in rows),
        "num_conversations": {task: tasks.count(task) for task in sorted(set(tasks))},
    }
    manifest = {
        "stage": "build_dialogues",
        "files": [name],
        "counts": {"figures": figures},
        "tokenizer_fingerprint": tokenizer_fingerprint,
    }
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    return folder
