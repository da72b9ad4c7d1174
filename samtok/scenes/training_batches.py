"""Scenes as training batches for the tokenizer: endless, seeded, addressable by step."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from samtok.scenes.generator import generate_scene
from samtok.scenes.scene import SceneConfig
from samtok.tokenizer.training import TrainingBatch, TrainingSample, collate_samples


class SceneBatches(Dataset[TrainingBatch]):
    """Batch `i` is a pure function of `i`, so a run resumes by starting at its step.

    Args:
        num_batches: length.
        images_per_batch: scenes per batch; scenes without objects are left out of it.
        masks_per_image: at most this many masks of a scene, drawn at random.
        image_size: side L of the network input, in pixels.
        split: scene split.
        seed: seed of the scenes.
        config: what the scenes look like.
    """

    def __init__(
        self,
        num_batches: int,
        *,
        images_per_batch: int,
        masks_per_image: int,
        image_size: int,
        split: str = "train",
        seed: int = 0,
        config: SceneConfig | None = None,
    ) -> None:
        self._num_batches = num_batches
        self._images_per_batch = images_per_batch
        self._masks_per_image = masks_per_image
        self._image_size = image_size
        self._split = split
        self._seed = seed
        self._config = config or SceneConfig()

    def __len__(self) -> int:
        return self._num_batches

    def __getitem__(self, index: int) -> TrainingBatch:
        if not 0 <= index < self._num_batches:
            raise IndexError(f"batch {index} of {self._num_batches}")
        draw = np.random.default_rng([self._seed, index])
        samples = []
        for offset in range(self._images_per_batch):
            scene = generate_scene(
                index * self._images_per_batch + offset,
                split=self._split,
                seed=self._seed,
                config=self._config,
            )
            if len(scene.masks):
                kept = draw.permutation(len(scene.masks))[: self._masks_per_image]
                samples.append(TrainingSample(scene.image, scene.masks[np.sort(kept)]))
        return collate_samples(samples, self._image_size)
