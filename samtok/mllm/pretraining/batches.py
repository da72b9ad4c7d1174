"""Scenes as batches of pretraining: endless, seeded, addressable by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from samtok.mllm.collate import Example, collate, encode_example
from samtok.mllm.pretraining.config import PretrainingConfig
from samtok.mllm.pretraining.dense import DenseTargets, make_dense_targets
from samtok.mllm.pretraining.lessons import Lesson, write_lessons
from samtok.mllm.pretraining.pointing import PointingTargets, make_pointing_targets
from samtok.scenes import Scene, describe_scene, generate_scene
from samtok.tasks.conversation import Conversation, Message

_MAX_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class PretrainingBatch:
    """One backward pass."""

    inputs: dict[str, torch.Tensor]
    """What the model takes; only the pixels while the vision tower learns alone."""
    targets: DenseTargets
    """What is where."""
    pointing: PointingTargets | None
    """What the questions are about; None while the vision tower learns alone."""


class PretrainingBatches(Dataset[PretrainingBatch]):
    """Batch `i` belongs to step ``i // num_lanes`` and lane ``i % num_lanes``.

    Args:
        processor: of the model.
        config: of the pretraining.
    """

    def __init__(self, processor: Any, config: PretrainingConfig) -> None:
        self._processor, self._config = processor, config

    def __len__(self) -> int:
        return self._config.num_steps * self._config.num_lanes

    def __getitem__(self, index: int) -> PretrainingBatch:
        config = self._config
        first = index * config.images_per_lane
        scenes = [
            generate_scene(first + position, seed=config.seed)
            for position in range(config.images_per_lane)
        ]
        targets = make_dense_targets(scenes)
        if index // config.num_lanes < config.vision_steps:
            images = [scene.image for scene in scenes]
            inputs: dict[str, Any] = self._processor.image_processor(
                images=images, return_tensors="pt"
            )
            return PretrainingBatch(dict(inputs), targets, None)
        rng = np.random.default_rng([config.seed, index])
        lessons = [
            write_lessons(scene, describe_scene(scene), rng, config.num_lessons) for scene in scenes
        ]
        examples = [
            Example(converse(scene, asked), scene.image)
            for scene, asked in zip(scenes, lessons, strict=True)
        ]
        encoded = [encode_example(example, self._processor, _MAX_LENGTH) for example in examples]
        inputs = collate(encoded, pad_token_id=self._processor.tokenizer.pad_token_id)
        # Padding is on the right and has no labels, so that causal attention needs no mask; with
        # one, attention on the CPU takes twice as long.
        del inputs["attention_mask"]
        for name in ("input_ids", "labels", "position_ids"):
            inputs[name] = inputs[name][..., : config.max_tokens]
        box_token_id = self._processor.tokenizer.convert_tokens_to_ids("[")
        pointing = make_pointing_targets(
            scenes, lessons, inputs["labels"], box_token_id=box_token_id
        )
        return PretrainingBatch(inputs, targets, pointing)


def converse(scene: Scene, lessons: Sequence[Lesson]) -> Conversation:
    """Lessons about a scene as a conversation, without mask words."""
    return Conversation(
        conversation_id=scene.scene_id,
        task="general_vqa",
        messages=tuple(
            message
            for lesson in lessons
            for message in (Message("user", lesson.question), Message("assistant", lesson.answer))
        ),
        target_words=(),
        mask_ids=(),
    )
