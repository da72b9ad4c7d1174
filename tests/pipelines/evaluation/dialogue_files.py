"""Conversations and mask words of a few scenes, as the corpus jobs leave them."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import columns
from samtok.masks import encode_rle
from samtok.tasks.registry import make_scene_conversations
from samtok.words import format_codes


def write_dialogues(folder, scenes, tokenizer, *, rows_per_group=7, gone=None):
    """Write ``folder/words`` and ``folder/dialogues``; returns the latter and its rows.

    The image of the scene `gone` is nowhere.
    """
    word_rows, rows = [], []
    for scene in scenes:
        masks, uri = np.asarray(scene.masks), f"scene:{scene.scene_id}"
        words = format_codes(tokenizer.encode(scene.image, masks))
        word_rows += [
            {
                "image_id": scene.scene_id,
                "mask_id": item.mask_id,
                "category": item.category,
                "words": text,
                "rle": encode_rle(mask),
            }
            for item, mask, text in zip(scene.objects, masks, words, strict=True)
        ]
        words_of = {item.mask_id: text for item, text in zip(scene.objects, words, strict=True)}
        rows += [
            {
                "conversation_id": conversation.conversation_id,
                "task": conversation.task,
                "image_id": scene.scene_id,
                "image_uri": "/nowhere/x.png" if scene.scene_id == gone else uri,
                "image": None,
                "height": scene.image.shape[0],
                "width": scene.image.shape[1],
                "messages": [{"role": m.role, "content": m.content} for m in conversation.messages],
                "target_words": list(conversation.target_words),
                "mask_ids": list(conversation.mask_ids),
                "source": "scenes",
            }
            for conversation in make_scene_conversations(scene, words_of)
        ]
    words_digest = _write(
        folder / "words",
        "words",
        pa.Table.from_pylist(word_rows, schema=columns.MASK_WORDS),
        {"stage": "tokenize_corpus", "tokenizer_fingerprint": tokenizer.fingerprint},
        rows_per_group,
    )
    tasks = [row["task"] for row in rows]
    _write(
        folder / "dialogues",
        "conversations",
        pa.Table.from_pylist(rows, schema=columns.CONVERSATIONS),
        {
            "stage": "build_dialogues",
            "tokenizer_fingerprint": tokenizer.fingerprint,
            "identity": {"words": str(folder / "words"), "words_manifest_sha256": words_digest},
            "counts": {
                "figures": {
                    "num_masks": 0,
                    "num_conversations": {task: tasks.count(task) for task in set(tasks)},
                }
            },
        },
        rows_per_group,
    )
    return folder / "dialogues", rows


def _write(place, name, table, manifest, rows_per_group):
    (place / name).mkdir(parents=True)
    file = f"{name}/part-000000.parquet"
    pq.write_table(table, place / file, row_group_size=rows_per_group)
    content = {"counts": {"figures": {"num_masks": table.num_rows}}, "files": [file], **manifest}
    encoded = json.dumps(content).encode()
    (place / "_manifest.json").write_bytes(encoded)
    return hashlib.sha256(encoded).hexdigest()
