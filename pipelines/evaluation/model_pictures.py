"""Pictures of an evaluation: question, answer with its masks as decoded, and the right answer."""

from __future__ import annotations

import heapq
import zlib
from typing import Any, Final

from PIL import Image

from pipelines.evaluation.answering import list_true_masks
from pipelines.evaluation.conversations import ConversationSource
from pipelines.image_decoding import open_row_image
from samtok.dialogue_panel import DialogueItem, dialogue_panel
from samtok.metrics.answer_masks import decode_answers
from samtok.tokenizer import SAMTok
from samtok.words import format_codes

_PICTURE_PREFIX: Final = "answers-"


class Samples:
    """Keeps some answers of each task: always the same ones, whatever comes back first.

    Args:
        num_samples: of each task.
    """

    def __init__(self, num_samples: int) -> None:
        self._num_samples = num_samples
        self._kept: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}

    def add(self, row: dict[str, Any]) -> None:
        """Add a row of `answer_stage.ANSWERED` that was measured."""
        name = row["conversation_id"]
        # The largest go first when a heap is full, so of the negated digests the smallest.
        entry = (-zlib.crc32(name.encode()), name, row)
        kept = self._kept.setdefault(row["task"], [])
        if len(kept) < self._num_samples:
            heapq.heappush(kept, entry)
        elif kept:
            heapq.heappushpop(kept, entry)

    def choose(self) -> dict[str, list[dict[str, Any]]]:
        """Task → its rows."""
        return {
            task: [row for *_, row in sorted(kept, key=lambda entry: entry[:2], reverse=True)]
            for task, kept in sorted(self._kept.items())
            if kept
        }


def draw_pictures(
    samples: dict[str, list[dict[str, Any]]], source: ConversationSource, tokenizer: SAMTok
) -> dict[str, Image.Image]:
    """A picture per task; file name → picture.

    Args:
        samples: rows of `answer_stage.ANSWERED` by task.
        source: of the conversations.
        tokenizer: decodes the masks.
    """
    return {
        f"{_PICTURE_PREFIX}{task}.png": dialogue_panel(
            [item for row in rows for item in _show(row, source, tokenizer)]
        )
        for task, rows in samples.items()
    }


def _show(
    answered: dict[str, Any], source: ConversationSource, tokenizer: SAMTok
) -> list[DialogueItem]:
    """The conversation as the model had it, and as it should have been."""
    image_row = next(source.read(answered["reference"]))
    (row,) = image_row["conversations"]
    image = open_row_image(image_row)
    asked = [("user", m["content"]) for m in row["messages"] if m["role"] == "user"]
    said = [("model", text) for text in answered["answers"]]
    right = [("right", text) for text in answered["targets"]]
    named = decode_answers(tokenizer, image, [text for _, text in [*asked, *said]])
    true = list_true_masks(row, image_row)
    return [
        DialogueItem(
            title=title,
            image=image,
            turns=[turn for pair in zip(asked, answers, strict=True) for turn in pair],
            masks={format_codes([codes])[0]: mask for codes, mask in masks.items()},
        )
        for title, answers, masks in (
            (f"{row['task'].replace('_', ' ')}: the model", said, named),
            ("as it should be", right, {**named, **true}),
        )
    ]
