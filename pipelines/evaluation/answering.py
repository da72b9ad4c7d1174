"""Answering conversations about a few images and measuring the answers; knows no Ray.

The model is asked round by round, over all images at once, and hears its own earlier answers, as a
user's model would. Each image is embedded once for all the masks that its answers name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from pipelines.image_decoding import open_row_image
from samtok.answer_forms import read_codes
from samtok.errors import InputError
from samtok.masks import decode_rle
from samtok.metrics.answer_masks import decode_answers
from samtok.metrics.answer_measures import (
    AnswerMeasures,
    MasksByCodes,
    list_codes,
    measure_answers,
)
from samtok.mllm.prompts import CONTROL_WORDS
from samtok.tasks import Message
from samtok.tokenizer import SAMTok

Ask: TypeAlias = Callable[[list[np.ndarray], list[Sequence[Message]]], list[str]]
"""Images and conversations that end with the user → answers.

Raises InputError where one of them cannot be asked.
"""


@dataclass(slots=True)
class Dialogue:
    """A conversation on its way."""

    row: Mapping[str, Any]
    """Of `conversations.CONVERSATION`."""
    image_row: Mapping[str, Any]
    """Of `conversations.ASKED`."""
    answers: list[str] = field(default_factory=list)
    measures: AnswerMeasures | None = None
    error: InputError | None = None
    """Why there are no measures."""

    @property
    def questions(self) -> list[str]:
        """What the user says, by round."""
        return [m["content"] for m in self.row["messages"] if m["role"] == "user"]

    @property
    def targets(self) -> list[str]:
        """What the model should say, by round."""
        return [m["content"] for m in self.row["messages"] if m["role"] == "assistant"]

    def next_messages(self) -> list[Message]:
        """The conversation so far, with the next question."""
        messages = []
        for question, answer in zip(self.questions, self.answers, strict=False):
            messages += [Message("user", question), Message("assistant", _remove_controls(answer))]
        return [*messages, Message("user", self.questions[len(self.answers)])]


def answer_images(
    rows: Sequence[Mapping[str, Any]],
    ask: Ask,
    tokenizer: SAMTok,
    *,
    blank_image: bool,
    batch_size: int,
) -> list[Dialogue]:
    """Answer and measure all conversations of a few images.

    Args:
        rows: of `conversations.ASKED`.
        ask: the model.
        tokenizer: decodes the masks of the answers, on the true image.
        blank_image: show the model an even grey in place of the image.
        batch_size: conversations that the model answers at a time.

    Returns:
        All conversations, in order; an image that cannot be opened is an error of each of its own.
    """
    dialogues: list[Dialogue] = []
    images: dict[int, np.ndarray] = {}
    for number, row in enumerate(rows):
        own = [Dialogue(conversation, row) for conversation in row["conversations"]]
        dialogues += own
        try:
            images[number] = open_row_image(row)
        except InputError as error:
            for dialogue in own:
                dialogue.error = error
    shown = {id(rows[n]): _blank(image) if blank_image else image for n, image in images.items()}
    _answer_rounds(dialogues, shown, ask, batch_size)
    for number, image in images.items():
        own = [d for d in dialogues if d.image_row is rows[number] and d.error is None]
        decoded = decode_answers(tokenizer, image, [text for d in own for text in d.answers])
        for dialogue in own:
            _measure(dialogue, decoded)
    return dialogues


def list_true_masks(row: Mapping[str, Any], image_row: Mapping[str, Any]) -> MasksByCodes:
    """The masks that a conversation's right answers stand for.

    Of the last answer, those it names by id. Of earlier rounds, the masks of the image that have
    the words; masks that share both words are merged, since no text can part them.

    Raises:
        InputError: ``mask_words_missing``: words that no mask of the image has.
    """
    by_words: dict[str, list[Any]] = {}
    by_id = {}
    for mask in image_row["masks"]:
        by_words.setdefault(mask["words"], []).append(mask["rle"])
        by_id[mask["mask_id"]] = mask["rle"]
    own: dict[str, list[Any]] = {}
    for words, mask_id in zip(row["target_words"], row["mask_ids"], strict=True):
        if mask_id in by_id:
            own.setdefault(words, []).append(by_id[mask_id])
    targets = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
    found = {codes: rles for words, rles in (by_words | own).items() for codes in read_codes(words)}
    missing = [codes for codes in list_codes(targets) if codes not in found]
    if missing:
        raise InputError(
            "mask_words_missing",
            f"{row['conversation_id']} has the codes {missing[0]}, which no mask of image "
            f"{image_row['image_id']} has; build the conversations again from these mask words",
        )
    return {
        codes: np.logical_or.reduce([decode_rle(rle) for rle in found[codes]])
        for codes in list_codes(targets)
    }


def _answer_rounds(
    dialogues: Sequence[Dialogue], shown: Mapping[int, np.ndarray], ask: Ask, batch_size: int
) -> None:
    """Fill in the answers: all first rounds, then all second ones, and so on.

    Conversations of a task and of like length go together: less is padded.
    """
    open_ones = [d for d in dialogues if d.error is None]
    while open_ones:
        open_ones.sort(key=lambda d: (d.row["task"], len(d.questions[len(d.answers)])))
        for first in range(0, len(open_ones), batch_size):
            _answer_round(open_ones[first : first + batch_size], shown, ask)
        open_ones = [d for d in open_ones if not d.error and len(d.answers) < len(d.questions)]


def _answer_round(batch: Sequence[Dialogue], shown: Mapping[int, np.ndarray], ask: Ask) -> None:
    """Fill in one answer each; where one of them cannot be asked, the others are, by themselves."""
    try:
        answers = ask([shown[id(d.image_row)] for d in batch], [d.next_messages() for d in batch])
    except InputError as error:
        if len(batch) == 1:
            batch[0].error = error
        else:
            for dialogue in batch:
                _answer_round([dialogue], shown, ask)
        return
    for dialogue, answer in zip(batch, answers, strict=True):
        dialogue.answers.append(answer)


def _measure(dialogue: Dialogue, decoded: MasksByCodes) -> None:
    try:
        dialogue.measures = measure_answers(
            dialogue.answers,
            dialogue.targets,
            decoded=decoded,
            true=list_true_masks(dialogue.row, dialogue.image_row),
            size=(dialogue.image_row["height"], dialogue.image_row["width"]),
        )
    except InputError as error:
        dialogue.error = error


def _remove_controls(answer: str) -> str:
    """A model may write anything; what would end its turn must not come back as its answer."""
    for word in CONTROL_WORDS:
        answer = answer.replace(word, "")
    return answer


def _blank(image: np.ndarray) -> np.ndarray:
    return np.full_like(image, 128)
