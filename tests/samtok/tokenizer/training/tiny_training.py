"""A very small model and hand-made pictures to train it on."""

import dataclasses

import numpy as np
import torch

from samtok.tokenizer.network import TokenizerNetwork
from samtok.tokenizer.training import (
    TokenizerTrainer,
    TokenizerTrainingConfig,
    TrainingSample,
    collate_samples,
)
from tests.small_tokenizer import SMALL_SHAPE

SHAPE = dataclasses.replace(SMALL_SHAPE, codebook_size=8)
CONFIG = TokenizerTrainingConfig(
    num_steps=6,
    quantize_from_step=3,
    full_size_from_step=2,
    learning_rate=3e-3,
    num_points=64,
    kmeans_vectors=24,
    object_map_weight=1.0,
    mask_jitter=0.5,
    consistency_weight=0.5,
    backbone="full",
)


def rectangles(index, num_images=4):
    """Images with two rectangles each, the brighter the pixel the more inside."""
    rng = np.random.default_rng(index)
    samples = []
    for _ in range(num_images):
        masks = np.zeros((2, 40, 48), dtype=bool)
        for mask in masks:
            y, x = rng.integers(0, 20, 2)
            mask[y : y + rng.integers(8, 20), x : x + rng.integers(8, 24)] = True
        image = np.repeat(masks.sum(0, dtype=np.uint8)[..., None] * 100, 3, axis=2)
        samples.append(TrainingSample(image, masks))
    return collate_samples(samples, SHAPE.image_size)


def build_trainer(config=CONFIG, shape=SHAPE):
    torch.manual_seed(0)
    return TokenizerTrainer(TokenizerNetwork(shape), config, device=torch.device("cpu"))


def run(trainer, lanes, first=0):
    """Train to the end; step `s` reads `lanes(s)`. Returns the figures of each step."""
    figures = []
    for step in range(first, trainer.config.num_steps):
        if trainer.needs_codebooks:
            vectors = [trainer.embed(lanes(100 + i)) for i in range(3)]
            trainer.start_codebooks(torch.cat(vectors))
        figures.append(trainer.train_step(lanes(step)))
    return figures


def weights(trainer):
    return {k: v.clone() for k, v in trainer.network.state_dict().items()}
