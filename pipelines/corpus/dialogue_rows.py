"""Texts of an image and the words of its masks → rows of conversations, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pyarrow as pa

from pipelines import columns
from pipelines.corpus.commits import Block, Figures
from pipelines.quarantined_row import QuarantinedRow
from samtok.errors import InputError
from samtok.scenes.grounded_text import SceneText, Span
from samtok.tasks import Conversation, DialogueOptions, Region, make_conversations
from samtok.tasks.texts import check_text

CONVERSATIONS_FOLDER: Final = "conversations"
STAGE: Final = "dialogues"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """What is made of which texts."""

    weights: dict[str, float]
    """By task, how many conversations a text gives on average."""
    options: DialogueOptions
    seed: int
    min_reconstruction_iou: float | None
    """Masks below are not spoken of; None speaks of all."""
    drop_colliding: bool
    """Masks that share their words with another of their image are not spoken of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageDialogues:
    """What came of an image: texts in = used + undrawn + quarantined."""

    image_id: str
    conversations: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `columns.CONVERSATIONS`."""
    quarantined: list[QuarantinedRow] = field(default_factory=list)
    num_used: int = 0
    """Texts that a conversation was made of."""
    num_undrawn: int = 0
    """Good texts of which the mixture made none."""
    num_quarantined: int = 0
    """Texts among the quarantined rows: all of these, but for an image without texts."""
    is_rejected: bool = False

    @property
    def num_bytes(self) -> int:
        """Of the image, once for every row that carries it."""
        return sum(len(row["image"] or b"") for row in self.conversations)

    @staticmethod
    def reject(error: InputError, *, source: str, image_id: str, num_texts: int) -> ImageDialogues:
        """An image of which nothing could be made: a quarantined row per text, at least one."""
        row = QuarantinedRow.of(error, source=source, image_id=image_id, mask_id=None, stage=STAGE)
        return ImageDialogues(
            image_id=image_id,
            quarantined=[row] * max(1, num_texts),
            num_quarantined=num_texts,
            is_rejected=True,
        )


def write_dialogues(
    image: dict[str, Any], words: Iterable[dict[str, Any]], mixture: Mixture
) -> ImageDialogues:
    """Make the conversations of one image.

    Args:
        image: a row of `columns.CORPUS`, without masks.
        words: rows of `columns.MASK_WORDS` of its masks.
        mixture: what is made.
    """
    regions, unfit = _sort_masks(words, mixture)
    texts, quarantined = [], []
    for position, row in enumerate(image["texts"] or []):
        text = _read_text(row)
        try:
            check_text(text, unfit, regions)
        except InputError as error:
            quarantined.append(_quarantine(image, position, text, error))
            continue
        texts.append((position, text))
    made, used = make_conversations(
        image["image_id"],
        dict(texts),
        regions,
        weights=mixture.weights,
        options=mixture.options,
        seed=mixture.seed,
    )
    return ImageDialogues(
        image_id=image["image_id"],
        conversations=[conversation_row(image, conversation) for conversation in made],
        quarantined=quarantined,
        num_used=len(used),
        num_undrawn=len(texts) - len(used),
        num_quarantined=len(quarantined),
    )


def conversation_row(image: dict[str, Any], conversation: Conversation) -> dict[str, Any]:
    """A row of `columns.CONVERSATIONS`."""
    kept = ("image_id", "image_uri", "image", "height", "width", "source")
    return {**{name: image[name] for name in kept}, **asdict(conversation)}


def build_conversations_block(images: Sequence[ImageDialogues]) -> Block:
    """A block of conversations."""
    rows = [row for image in images for row in image.conversations]
    return Block(
        image_ids=[image.image_id for image in images],
        table=pa.Table.from_pylist(rows, schema=columns.CONVERSATIONS),
        quarantined=[asdict(row) for image in images for row in image.quarantined],
        figures=Figures(
            num_images=len(images),
            num_rejected_images=sum(image.is_rejected for image in images),
            num_texts=sum(image.num_used for image in images),
            num_undrawn_texts=sum(image.num_undrawn for image in images),
            num_quarantined_texts=sum(image.num_quarantined for image in images),
            num_conversations=dict(Counter(row["task"] for row in rows)),
            num_bytes=sum(image.num_bytes for image in images),
        ),
    )


def _sort_masks(
    words: Iterable[dict[str, Any]], mixture: Mixture
) -> tuple[dict[str, Region], dict[str, InputError]]:
    """Masks to speak of, and why not of the others."""
    regions, unfit = {}, {}
    for row in words:
        mask_id, iou = row["mask_id"], row["reconstruction_iou"]
        lowest = mixture.min_reconstruction_iou
        if lowest is not None and (iou is None or iou < lowest):
            unfit[mask_id] = InputError(
                "mask_iou_low",
                f"the words of mask {mask_id} rebuild it with an IoU of {iou}; wanted is {lowest}",
            )
        elif mixture.drop_colliding and row["collides"]:
            unfit[mask_id] = InputError(
                "mask_collides",
                f"another mask of the image has the words of mask {mask_id}, {row['words']}",
            )
        else:
            regions[mask_id] = Region(
                mask_id=mask_id,
                words=row["words"],
                box=tuple(row["bbox"]),
                category=row["category"] or "",
            )
    return regions, unfit


def _read_text(row: dict[str, Any]) -> SceneText:
    spans = [
        Span(**{**span, "mask_ids": tuple(span["mask_ids"] or ())}) for span in row["spans"] or []
    ]
    return SceneText(
        kind=row["kind"],
        text=row["text"] or "",
        mask_ids=tuple(row["mask_ids"] or ()),
        spans=tuple(spans),
    )


def _quarantine(
    image: dict[str, Any], position: int, text: SceneText, error: InputError
) -> QuarantinedRow:
    return QuarantinedRow.of(
        error,
        source=image["source"],
        image_id=image["image_id"],
        mask_id=None,
        stage=STAGE,
        about=f"text {position}, {text.kind} {text.text!r}",
    )
