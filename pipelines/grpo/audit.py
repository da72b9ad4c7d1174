"""Held-out prompts for the audit, with their true masks; and what people look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from pipelines.corpus_reader import WordFiles
from pipelines.grpo.records import AuditedAnswer, AuditTask, RolloutGroup
from pipelines.image_decoding import open_row_image
from pipelines.training.conversations import ConversationCorpus
from samtok.dialogue_panel import DialogueItem, dialogue_panel
from samtok.errors import ConfigError
from samtok.masks.rle import Rle, decode_rle


def read_audit_tasks(
    corpus: ConversationCorpus, words: WordFiles, size: int, num_drawn: int
) -> list[AuditTask]:
    """The first conversations of a corpus, each with the true masks of its last answer.

    Args:
        corpus: held out.
        words: the mask words that it was made with.
        size: conversations, at most.
        num_drawn: so many of them, evenly spread, are drawn.

    Raises:
        ConfigError: a mask of a conversation is not among the words.
    """
    rows = list(islice(corpus.read(0, min(size, corpus.starts[-1])), size))
    masks = _read_masks(words, {row["image_id"] for row in rows})
    every = max(1, len(rows) // num_drawn) if num_drawn else len(rows) + 1
    tasks = []
    for position, row in enumerate(rows):
        keys = [(row["image_id"], mask_id) for mask_id in row["mask_ids"]]
        if missing := [key for key in keys if key not in masks]:
            raise ConfigError(
                f"{row['conversation_id']} names mask {missing[0][1]} of image {missing[0][0]}, "
                f"which {words.place.uri()} does not have; give the mask words that the "
                "conversations were made with by --audit-words"
            )
        is_drawn = position % every == 0 and position // every < num_drawn
        tasks.append(AuditTask(row, [masks[key] for key in keys], is_drawn))
    return tasks


def draw_audit(answers: Sequence[AuditedAnswer]) -> Image.Image | None:
    """Questions, answers and their decoded masks; None where none is drawn."""
    items = [
        DialogueItem(
            title=f"reward {answer.reward.total:.2f}, IoU {answer.overlap.iou:.2f}",
            image=open_row_image(answer.row),
            turns=[("user", answer.question), ("model", answer.text), ("right", answer.target)],
            masks={words: decode_rle(rle) for words, rle in answer.masks.items()},
        )
        for answer in answers
        if answer.row is not None
    ]
    return dialogue_panel(items) if items else None


def tabulate_audit(answers: Sequence[AuditedAnswer]) -> dict[str, Any]:
    """A table of answers, in the form that pandas reads with ``orient="split"``."""
    columns = ["task", "question", "response", "target", "reward", "iou"]
    data = [[a.task, a.question, a.text, a.target, a.reward.total, a.overlap.iou] for a in answers]
    return {"columns": columns, "data": data}


def tabulate_groups(groups: Sequence[RolloutGroup]) -> dict[str, Any]:
    """A table of sampled responses, likewise."""
    columns = ["prompt", "version", "task", "question", "response", "target", "reward"]
    data = [
        [g.number, g.version, g.task, g.question, text, g.target, reward.total]
        for g in groups
        for text, reward in zip(g.texts, g.rewards, strict=True)
    ]
    return {"columns": columns, "data": data}


def _read_masks(words: WordFiles, image_ids: set[str]) -> dict[tuple[str, str], Rle]:
    return {
        (row["image_id"], row["mask_id"]): row["rle"] for row in _read_word_rows(words, image_ids)
    }


def _read_word_rows(words: WordFiles, image_ids: set[str]) -> Iterator[dict[str, Any]]:
    for name in sorted({file for image, file in words.list_images() if image in image_ids}):
        table = pq.read_table(
            words.place.path(name),
            filesystem=words.filesystem,
            columns=["image_id", "mask_id", "rle"],
            filters=[("image_id", "in", list(image_ids))],
        )
        yield from table.to_pylist()
