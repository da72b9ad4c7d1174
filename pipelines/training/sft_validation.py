"""What fine-tuning is worth on conversations it does not learn from: losses by task, and answers.

The workers share the conversations; rank 0 adds up and draws.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipelines.image_decoding import open_row_image
from pipelines.training.conversations import ConversationCorpus
from pipelines.training.plan import cut_evenly
from pipelines.training.sft_loading import encode_row
from samtok.dialogue_panel import DialogueItem, dialogue_panel
from samtok.errors import InputError
from samtok.metrics.answer_masks import decode_answers
from samtok.mllm.collate import EncodedExample, Example, encode_example
from samtok.mllm.generation import GenerationConfig, generate
from samtok.mllm.model import Mllm
from samtok.mllm.training import SftTrainer, make_batch
from samtok.tasks.conversation import Conversation, Message
from samtok.tokenizer import SAMTok
from samtok.training.collectives import gather_items, num_processes
from samtok.words import format_codes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SftValidationResult:
    """Of one validation."""

    loss: float
    """Mean over all answer tokens, nats; the same on every rank."""
    metrics: dict[str, float]
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    """On rank 0 only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SftValidation:
    """Which conversations, and how many are answered."""

    corpora: tuple[ConversationCorpus, ...]
    num_conversations: int
    """The first so many of each corpus."""
    conversations_per_batch: int
    max_length: int
    tokenizer: str
    """Decodes the masks of the pictures."""
    codebook_size: int
    """Of that tokenizer."""
    samples_per_task: int
    """Conversations of each task that are answered and drawn; 0: none."""
    generation: GenerationConfig

    def run(self, trainer: SftTrainer, rank: int) -> SftValidationResult:
        """Measure on all workers together, then let the model answer."""
        losses = self._measure(trainer, rank)
        loss = sum(total for total, _ in losses.values()) / sum(n for _, n in losses.values())
        metrics = {f"validation/loss_{task}": total / n for task, (total, n) in losses.items()}
        metrics |= {
            "validation/loss": loss,
            "validation/answer_token_probability": math.exp(-loss),
        }
        with trainer.gathered() as mllm:
            # Under FSDP a layer's weights are gathered from all workers whenever it is called.
            answers = self.samples_per_task and (rank == 0 or trainer.config.parallel == "fsdp")
            items = self._answer(mllm, trainer.device) if answers else []
        pictures = {"answers": dialogue_panel(items)} if rank == 0 and items else {}
        return SftValidationResult(loss=loss, metrics=metrics, pictures=pictures)

    def _measure(self, trainer: SftTrainer, rank: int) -> dict[str, tuple[float, int]]:
        """Sum of losses and number of answer tokens, by task."""
        processor = trainer.mllm.processor
        filler = _encode_filler(processor)
        rows = itertools.chain(
            *(
                corpus.read(*bounds[rank])
                for corpus, bounds in zip(self.corpora, self._share_out(), strict=True)
            )
        )
        found: list[tuple[str, float, int]] = []
        for _ in range(self._count_batches()):
            chunk = itertools.islice(rows, self.conversations_per_batch)
            good = list(self._encode(chunk, processor))
            examples = [example for _, example in good] or [filler]
            losses, places, _ = trainer.measure(make_batch(examples, trainer.mllm))
            sums = torch.zeros(len(examples), device=losses.device).index_add(0, places, losses)
            counts = torch.bincount(places, minlength=len(examples))
            tasks = [task for task, _ in good]
            found += zip(tasks, sums.tolist(), counts.tolist(), strict=False)
        totals: Counter[str] = Counter()
        numbers: Counter[str] = Counter()
        for task, total, number in gather_items(found):
            totals[task] += total
            numbers[task] += number
        return {task: (float(totals[task]), numbers[task]) for task in sorted(numbers)}

    def _share_out(self) -> list[list[tuple[int, int]]]:
        """Of each corpus, the rows [start, stop) of every rank."""
        return [
            cut_evenly(min(self.num_conversations, corpus.starts[-1]), num_processes())
            for corpus in self.corpora
        ]

    def _count_batches(self) -> int:
        """As many on every rank, as FSDP needs."""
        shares = zip(*self._share_out(), strict=True)
        sizes: list[int] = [sum(stop - start for start, stop in own) for own in shares]
        return math.ceil(max(sizes) / self.conversations_per_batch)

    def _encode(
        self, rows: Iterator[dict[str, Any]], processor: Any
    ) -> Iterator[tuple[str, EncodedExample]]:
        for row in rows:
            try:
                example = encode_row(
                    row, processor, codebook_size=self.codebook_size, max_length=self.max_length
                )
            except InputError as error:
                logger.warning("left out of the validation: %s", error)
                continue
            yield row["task"], example

    def _answer(self, mllm: Mllm, device: torch.device) -> list[DialogueItem]:
        tokenizer = SAMTok.from_pretrained(self.tokenizer, device=device)
        taken: Counter[str] = Counter()
        seen: set[tuple[str, str]] = set()  # another image for each sample of a task
        items = []
        for corpus in self.corpora:
            for row in corpus.read(0, min(self.num_conversations, corpus.starts[-1])):
                key = row["task"], row["image_id"]
                if key in seen or taken[row["task"]] >= self.samples_per_task:
                    continue
                seen.add(key)
                try:
                    items.append(_draw(row, mllm, tokenizer, self.generation))
                except InputError:  # it was told of when losses were measured
                    continue
                taken[row["task"]] += 1
        return sorted(items, key=lambda item: item.title)


def _draw(
    row: Mapping[str, Any], mllm: Mllm, tokenizer: SAMTok, generation: GenerationConfig
) -> DialogueItem:
    """The last answer of a conversation, as the model gives it after the right earlier ones."""
    image = open_row_image(row)
    *before, right = [Message(m["role"], m["content"]) for m in row["messages"]]
    (answer,) = generate(mllm, [image], [before], generation)
    masks = decode_answers(tokenizer, image, [*(m.content for m in before), answer, right.content])
    return DialogueItem(
        title=row["task"].replace("_", " "),
        image=image,
        turns=[
            *((message.role, message.content) for message in before),
            ("model", answer),
            ("right", right.content),
        ],
        masks={format_codes([codes])[0]: mask for codes, mask in masks.items()},
    )


def _encode_filler(processor: Any) -> EncodedExample:
    """Stands in where a rank has nothing to measure while others have."""
    conversation = Conversation(
        conversation_id="filler",
        task="filler",
        messages=(Message("user", "?"), Message("assistant", ".")),
        target_words=(),
        mask_ids=(),
    )
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    return encode_example(Example(conversation, image), processor, max_length=2**31)
