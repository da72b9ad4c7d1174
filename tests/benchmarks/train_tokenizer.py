"""What sharing a backbone pass, and not running it at all, is worth in training.

All ways train the same weights with a frozen backbone, as the published recipe does, on scenes:

- shared: images with 8 masks each, one backbone pass per image;
- per_mask: as many masks, one image each, one backbone pass per mask (the published way);
- cached: images with 8 masks each from embeddings on disk, read by Ray Data as the job reads them,
  waiting for data included;
- heads: the same steps without the waiting.

    python tests/benchmarks/train_tokenizer.py [--size tiny] [--steps 20]

Prints one JSON object: masks per second of each, and the ratios shared/per_mask, cached/shared and
the time of cached over that of heads.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from pipelines.cluster import connect
from pipelines.corpus.embed import EmbedConfig, run_embedding
from pipelines.training.corpora import open_cached_corpus
from pipelines.training.loading import LoadStage
from pipelines.training.plan import Mixture
from pipelines.training.stream import stream_lanes
from pipelines.training.unpacking import unpack_batch
from samtok.scenes import SceneConfig, generate_scene
from samtok.tokenizer import PRESETS, SAMTok
from samtok.tokenizer.training import (
    TokenizerTrainer,
    TokenizerTrainingConfig,
    TrainingBatch,
    TrainingSample,
    collate_samples,
)

MASKS_PER_IMAGE = 8
IMAGES_PER_STEP = 4
NUM_SCENES = 256


def busy_scenes(count: int) -> Iterator[TrainingSample]:
    """Scenes with at least 8 masks, 8 of them kept."""
    index = 0
    while count:
        scene = generate_scene(index, config=SceneConfig(cluttered_share=1.0, empty_share=0.0))
        index += 1
        if len(scene.masks) >= MASKS_PER_IMAGE:
            count -= 1
            yield TrainingSample(scene.image, scene.masks[:MASKS_PER_IMAGE])


def build_trainer(size: str) -> TokenizerTrainer:
    tokenizer = SAMTok.from_config(PRESETS[size], device="cpu")
    config = TokenizerTrainingConfig(num_steps=10**6)
    return TokenizerTrainer(tokenizer.network, config, device=torch.device("cpu"))


def masks_per_second(trainer: TokenizerTrainer, batches: list[TrainingBatch]) -> float:
    trainer.train_step([batches[0]])
    begun = time.perf_counter()
    masks = sum(trainer.train_step([batch])["num_masks"] for batch in batches)
    return masks / (time.perf_counter() - begun)


def measure_cached(size: str, steps: int, folder: Path) -> dict[str, float]:
    """Masks per second with and without what the steps wait for."""
    tokenizer = SAMTok.from_config(PRESETS[size], device="cpu")
    weights = tokenizer.save_pretrained(folder / "tokenizer")
    run_embedding(
        EmbedConfig(
            source="scenes",
            num_images=NUM_SCENES,
            tokenizer=str(weights),
            output=str(folder / "embeddings"),
        )
    )
    corpus = open_cached_corpus(str(folder / "embeddings"), tokenizer.backbone_fingerprint)
    mixture = Mixture(
        num_images=(corpus.num_images,), weights=(1.0,), num_lanes=1, images_per_window=64
    )
    stage = LoadStage(
        corpora=(corpus,),
        mixture=mixture,
        images_per_lane=IMAGES_PER_STEP,
        masks_per_image=MASKS_PER_IMAGE,
        image_size=PRESETS[size].image_size,
    )
    trainer = build_trainer(size)
    stream = stream_lanes(stage, [0], first_batch=0)
    shapes = list(PRESETS[size].embedding_shapes.values())

    def next_batch() -> TrainingBatch:
        (row,) = next(stream)
        return unpack_batch(row, stage.image_size, shapes)

    trainer.train_step([next_batch()])
    masks = in_steps = 0.0
    begun = time.perf_counter()
    for _ in range(steps):
        batch = next_batch()
        step_begun = time.perf_counter()
        masks += trainer.train_step([batch])["num_masks"]
        in_steps += time.perf_counter() - step_begun
    seconds = time.perf_counter() - begun
    return {"cached": masks / seconds, "heads": masks / in_steps}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    side = PRESETS[args.size].image_size
    samples = list(busy_scenes(args.steps * IMAGES_PER_STEP))
    shared, per_mask = [], []
    for start in range(0, len(samples), IMAGES_PER_STEP):
        group = samples[start : start + IMAGES_PER_STEP]
        alone = [TrainingSample(s.image, mask[None]) for s in group for mask in s.masks]
        shared.append(collate_samples(group, side))
        per_mask.append(collate_samples(alone, side))
    rates = {
        "shared": masks_per_second(build_trainer(args.size), shared),
        "per_mask": masks_per_second(build_trainer(args.size), per_mask),
    }
    connect()
    with tempfile.TemporaryDirectory() as folder:
        rates |= measure_cached(args.size, args.steps, Path(folder))
    report = {
        "size": args.size,
        "masks_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "shared_over_per_mask": round(rates["shared"] / rates["per_mask"], 2),
        "cached_over_shared": round(rates["cached"] / rates["shared"], 2),
        "time_cached_over_heads": round(rates["heads"] / rates["cached"], 3),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
