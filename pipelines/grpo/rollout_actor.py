"""The actor that generates: a copy of the policy, the rewards, and nothing of the training.

Waits for calls, and in `receive` for the trainer. Every other call brings the version of the
weights it is to be answered with, and where they can be read, so that an actor that was replaced
needs no other word.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import ray
import torch

from pipelines.grpo.records import AuditedAnswer, AuditTask, CallResult, PromptTask, RolloutGroup
from pipelines.grpo.weight_group import Layout, Meeting, WeightGroup
from pipelines.image_decoding import open_row_image
from pipelines.quarantined_row import quarantine_conversation
from pipelines.training.conversations import read_conversation
from samtok.answer_forms import read_answer_part, read_codes
from samtok.errors import InputError
from samtok.masks.rle import decode_rles, encode_rle
from samtok.metrics.answer_masks import decode_answers
from samtok.metrics.segmentation import measure_overlap
from samtok.mllm import load_extended
from samtok.mllm.collate import EncodedExample, encode_prompt
from samtok.mllm.generation import GenerationConfig, decode_answer
from samtok.mllm.group_generation import SampledAnswer
from samtok.mllm.grpo import GrpoConfig
from samtok.mllm.grpo.engine import RolloutEngine, RolloutPrompt, TransformersEngine
from samtok.mllm.grpo.vllm_engine import VllmEngine
from samtok.rewards import (
    CodebookSimilarity,
    CodeSimilarity,
    Composition,
    ExpectedIou,
    RewardConfig,
)
from samtok.rewards.similarity import EXPECTED_IOU_FILE
from samtok.tokenizer import SAMTok
from samtok.tokenizer.checkpoint import find_folder
from samtok.words import format_codes

STAGE: Final = "train_grpo"


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutSettings:
    """Everything an actor needs; picklable."""

    model: str
    """What the training starts from."""
    training: GrpoConfig
    sampling: GenerationConfig
    greedy: GenerationConfig
    """Of the audit."""
    group_size: int
    """G."""
    max_length: int
    """Most tokens of prompt and answer together."""
    tokenizer: str
    codebook_size: int
    rewards: RewardConfig
    engine: Literal["transformers", "vllm"]
    gpu_memory_share: float
    """That vLLM takes."""
    device: str
    num_threads: int
    timeout_seconds: float
    """Of waiting for weights that are broadcast."""


class RolloutActor:
    """Samples groups of answers and judges them.

    Args:
        settings: see there.
    """

    def __init__(self, settings: RolloutSettings) -> None:
        torch.set_flush_denormal(True)
        torch.set_num_threads(settings.num_threads)
        self._settings = settings
        self._engine = start_engine(settings)
        self._text_tokenizer = self._engine.processor.tokenizer
        self._tokenizer = SAMTok.from_pretrained(settings.tokenizer, device=settings.device)
        self._judge = Composition(
            settings.rewards, load_similarity(settings.rewards, settings.tokenizer, self._tokenizer)
        )
        self._version = -1
        self._group: WeightGroup | None = None

    def receive(self, version: int, meeting: Meeting, rank: int, layout: Layout) -> None:
        """Take over weights that the trainer broadcasts.

        Args:
            version: of the weights.
            meeting: of the group; this actor joins it, if it is not in it.
            rank: of this actor in the group, from 1.
            layout: of the weights.

        Raises:
            RuntimeError: the group lost a member.
        """
        self._version = -1  # half of the weights may be new
        if self._group is None or self._group.meeting != meeting:
            device = torch.device(self._settings.device)
            self._group = None  # frees the one before
            self._group = WeightGroup(meeting, rank, device, self._settings.timeout_seconds)
        self._engine.load_weights(self._group.receive(layout))
        self._version = version

    def roll_out(
        self, tasks: Sequence[PromptTask], version: int, copies: Sequence[ray.ObjectRef]
    ) -> CallResult:
        """Groups of answers to prompts, judged.

        Args:
            tasks: the prompts; answered in one batch.
            version: of the weights.
            copies: where those can be read: one reference to name → float32 array; none, if they
                were received.
        """
        begun = time.perf_counter()
        self._load(version, copies)
        prompts: dict[int, RolloutPrompt] = {}
        rejected = {}
        for task in tasks:
            try:
                prompts[task.number] = self._read(task.row)
            except InputError as error:
                rejected[task.number] = quarantine_conversation(task.row, error, stage=STAGE)
        sampled = self._sample(prompts)
        groups = [
            self._judge_group(task, prompts[task.number].encoded, sampled[task.number], version)
            for task in tasks
            if task.number in prompts
        ]
        return CallResult(groups=groups, rejected=rejected, seconds=time.perf_counter() - begun)

    def audit(
        self, tasks: Sequence[AuditTask], version: int, copies: Sequence[ray.ObjectRef]
    ) -> list[AuditedAnswer]:
        """The most likely answers to held-out prompts, judged by text and by masks.

        Args:
            tasks: those that can be asked are answered in one batch, the others left out.
            version: of the weights.
            copies: as in :meth:`roll_out`.
        """
        self._load(version, copies)
        prompts = {}
        for number, task in enumerate(tasks):
            try:
                prompts[number] = self._read(task.row)
            except InputError:
                continue
        if not prompts:
            return []
        seeds = [[0]] * len(prompts)
        answers = self._engine.generate(list(prompts.values()), seeds, self._settings.greedy)
        texts = [decode_answer(self._text_tokenizer, each.token_ids) for (each,) in answers]
        return [
            self._audit_answer(tasks[number], text)
            for number, text in zip(prompts, texts, strict=True)
        ]

    def _load(self, version: int, copies: Sequence[ray.ObjectRef]) -> None:
        if version != self._version:
            (copy,) = copies
            # Arrays of the object store cannot be written to, which from_numpy warns of.
            weights = ((name, torch.tensor(array)) for name, array in ray.get(copy).items())
            self._engine.load_weights(weights)
            self._version = version

    def _read(self, row: Mapping[str, Any]) -> RolloutPrompt:
        conversation = read_conversation(row, self._settings.codebook_size)
        image = open_row_image(row)
        encoded = encode_prompt(conversation.messages[:-1], image, self._engine.processor)
        limit = self._settings.max_length - self._settings.sampling.max_new_tokens
        if len(encoded) > limit:
            raise InputError(
                "conversation_too_long",
                f"the prompt of {row['conversation_id']} takes {len(encoded)} tokens; at most "
                f"{limit} leave room for an answer: raise --max-length, or lower the processor's "
                "image size",
            )
        return RolloutPrompt(encoded, image)

    def _sample(self, prompts: Mapping[int, RolloutPrompt]) -> dict[int, list[SampledAnswer]]:
        if not prompts:
            return {}
        settings = self._settings
        seeds = [
            [seed_of_answer(settings.training.seed, number, n) for n in range(settings.group_size)]
            for number in prompts
        ]
        groups = self._engine.generate(list(prompts.values()), seeds, settings.sampling)
        return dict(zip(prompts, groups, strict=True))

    def _judge_group(
        self,
        task: PromptTask,
        prompt: EncodedExample,
        answers: list[SampledAnswer],
        version: int,
    ) -> RolloutGroup:
        row = task.row
        *_, question, target = (message["content"] for message in row["messages"])
        texts = [decode_answer(self._text_tokenizer, each.token_ids) for each in answers]
        return RolloutGroup(
            number=task.number,
            task=row["task"],
            question=question,
            target=target,
            version=version,
            prompt=prompt,
            answers=answers,
            texts=texts,
            rewards=[
                self._judge(text, target, task=row["task"], source=row["source"]) for text in texts
            ],
        )

    def _audit_answer(self, task: AuditTask, text: str) -> AuditedAnswer:
        row = task.row
        *_, question, target = (message["content"] for message in row["messages"])
        image = open_row_image(row)
        shown = [message["content"] for message in row["messages"]] if task.is_drawn else []
        decoded = decode_answers(self._tokenizer, image, [text, *shown])
        size = image.shape[:2]
        predicted = np.zeros(size, dtype=bool)
        for codes in read_codes(read_answer_part(text)):
            predicted |= decoded[codes]
        true = np.logical_or.reduce(decode_rles(task.true_masks, *size))
        return AuditedAnswer(
            task=row["task"],
            question=question,
            target=target,
            text=text,
            reward=self._judge(text, target, task=row["task"], source=row["source"]),
            overlap=measure_overlap(predicted, true),
            row=row if task.is_drawn else None,
            masks={
                format_codes([codes])[0]: encode_rle(mask)
                for codes, mask in decoded.items()
                if task.is_drawn
            },
        )


def start_engine(settings: RolloutSettings) -> RolloutEngine:
    """The engine that the settings name, with the weights that the training starts from."""
    seed = settings.training.seed
    if settings.engine == "vllm":
        return VllmEngine(
            settings.model,
            max_length=settings.max_length,
            memory_share=settings.gpu_memory_share,
            seed=seed,
        )
    mllm = load_extended(settings.model, settings.device, dtype="auto", seed=seed)
    return TransformersEngine(mllm, settings.training)


def seed_of_answer(seed: int, prompt: int, answer: int) -> int:
    """Seed of one answer, whoever generates it and however often.

    Args:
        seed: of the training.
        prompt: its number in the stream.
        answer: its position in the group.
    """
    return int(np.random.SeedSequence([seed, prompt, answer]).generate_state(1, np.uint64)[0] >> 1)


def load_similarity(config: RewardConfig, source: str, tokenizer: SAMTok) -> CodeSimilarity:
    """What soft_matching compares codes with.

    Args:
        config: of the rewards.
        source: of the tokenizer, beside which its table of expected IoU lies.
        tokenizer: the same, loaded.

    Raises:
        CheckpointError: a table is wanted, and there is none of this tokenizer.
    """
    if config.similarity == "codebook":
        return CodebookSimilarity(*tokenizer.copy_codebooks())
    folder = find_folder(source, (EXPECTED_IOU_FILE,))
    return ExpectedIou.load(folder, fingerprint=tokenizer.fingerprint)
