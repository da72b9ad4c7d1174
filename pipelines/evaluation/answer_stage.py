"""The stage that holds model and tokenizer in an evaluation, in a pool of Ray actors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch

from pipelines import columns
from pipelines.evaluation.answering import Dialogue, answer_images
from pipelines.evaluation.variants import Variant
from pipelines.quarantined_row import QuarantinedRow
from samtok.errors import InputError
from samtok.metrics.answer_measures import AnswerMeasures
from samtok.mllm import extend_vocabulary, load_mllm
from samtok.mllm.generation import GenerationConfig, generate
from samtok.tasks import Message
from samtok.tokenizer import SAMTok

ANSWERED: Final = pa.schema(
    [
        ("reference", pa.string()),
        ("conversation_id", pa.string()),
        ("task", pa.string()),
        ("answers", pa.list_(pa.string())),  # of the model, by round
        ("targets", pa.list_(pa.string())),
        ("measures", pa.string()),  # AnswerMeasures as JSON; null where quarantined
        ("quarantined", pa.struct(list(columns.QUARANTINE))),  # null where measured
    ]
)
"""A row per conversation."""


class AnswerStage:
    """Answer and measure the conversations of each image, in a pool of actors.

    Columns in: `conversations.ASKED`. Columns out: `ANSWERED`. State held: model and tokenizer.

    Args:
        variant: the model, and what it is shown.
        tokenizer: as for ``SAMTok.from_pretrained``.
        device: cpu, cuda or auto.
        num_threads: torch threads on the CPU.
        generation: how answers are written.
        batch_size: conversations answered at a time.
    """

    def __init__(
        self,
        variant: Variant,
        tokenizer: str,
        *,
        device: str,
        num_threads: int,
        generation: GenerationConfig,
        batch_size: int,
    ) -> None:
        torch.set_num_threads(num_threads)
        self._variant = variant
        self._mllm = load_mllm(variant.model, device=device)
        # A model that was never taught mask words must be able to write them too.
        extend_vocabulary(self._mllm.model, self._mllm.processor)
        self._tokenizer = SAMTok.from_pretrained(tokenizer, device=device)
        self._generation = generation
        self._batch_size = batch_size

    def __call__(self, table: pa.Table) -> pa.Table:
        """Columns out for columns in."""
        dialogues = answer_images(
            table.to_pylist(),
            self._ask,
            self._tokenizer,
            blank_image=self._variant.blank_image,
            batch_size=self._batch_size,
        )
        return pa.Table.from_pylist([_to_row(dialogue) for dialogue in dialogues], schema=ANSWERED)

    def _ask(self, images: list[np.ndarray], messages: list[Sequence[Message]]) -> list[str]:
        return generate(self._mllm, images, messages, self._generation)


def measures_of(row: dict[str, Any]) -> AnswerMeasures | None:
    """Of a row of `ANSWERED`; None where it was quarantined."""
    return (
        None if row["measures"] is None else AnswerMeasures.from_json(json.loads(row["measures"]))
    )


def _to_row(dialogue: Dialogue) -> dict[str, Any]:
    row, measures, error = dialogue.row, dialogue.measures, dialogue.error
    return {
        "reference": row["reference"],
        "conversation_id": row["conversation_id"],
        "task": row["task"],
        "answers": dialogue.answers,
        "targets": dialogue.targets,
        "measures": None if measures is None else json.dumps(measures.to_json()),
        "quarantined": None if error is None else _quarantine(dialogue, error),
    }


def _quarantine(dialogue: Dialogue, error: InputError) -> dict[str, Any]:
    quarantined = QuarantinedRow.of(
        error,
        source=dialogue.row["source"],
        image_id=dialogue.image_row["image_id"],
        mask_id=None,
        stage="answer",
        about=dialogue.row["conversation_id"],
    )
    return asdict(quarantined)
