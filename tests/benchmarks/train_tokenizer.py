"""What sharing a backbone pass, and not running it at all, is worth in training.

All ways train the same weights with a frozen backbone, as the published recipe does, on scenes and
with one torch thread, as the job does by default:

- shared: images with 8 masks each, one backbone pass per image;
- per_mask: as many masks, one image each, one backbone pass per mask (the published way);
- images: images with up to 8 masks each, loaded by Ray Data as the job loads them, waiting for data
  included, one backbone pass per image;
- cached: the same images and masks from embeddings on disk, in the same way;
- heads: the same embeddings, already in memory.

    python tests/benchmarks/train_tokenizer.py [--size tiny] [--steps 60]

Prints one JSON object: masks per second of each, and the ratios shared/per_mask, cached/images and
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
from pipelines.training.corpora import SceneCorpus, TrainingCorpus, open_cached_corpus
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


def embed_scenes(size: str, folder: Path) -> TrainingCorpus:
    """Embeddings of the first scenes, by the backbone that all ways train with."""
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
    return open_cached_corpus(str(folder / "embeddings"), tokenizer.backbone_fingerprint)


def measure_stream(size: str, corpus: TrainingCorpus, steps: int) -> dict[str, float]:
    """Masks per second of steps that read a corpus as they go, and of the same steps without."""
    mixture = Mixture(starts=(corpus.starts,), weights=(1.0,), num_lanes=1, images_per_window=64)
    stage = LoadStage(
        corpora=(corpus,),
        mixture=mixture,
        images_per_lane=IMAGES_PER_STEP,
        masks_per_image=MASKS_PER_IMAGE,
        image_size=PRESETS[size].image_size,
    )
    shapes = list(PRESETS[size].embedding_shapes.values())
    stream = stream_lanes(stage, [0], first_batch=0, num_loaders=2)
    batches = (unpack_batch(row, stage.image_size, shapes) for (row,) in stream)
    trainer = build_trainer(size)
    trainer.train_step([next(batches)])  # waits for loading to start
    used, masks = [], 0.0
    begun = time.perf_counter()
    for _ in range(steps):
        used.append(next(batches))
        masks += trainer.train_step(used[-1:])["num_masks"]
    seconds = time.perf_counter() - begun
    stream.close()
    return {
        "reading": masks / seconds,
        "in_memory": masks_per_second(build_trainer(size), used),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
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
    from_images = measure_stream(args.size, SceneCorpus(num_images=NUM_SCENES), args.steps)
    with tempfile.TemporaryDirectory() as folder:
        cached = measure_stream(args.size, embed_scenes(args.size, Path(folder)), args.steps)
    rates |= {
        "images": from_images["reading"],
        "cached": cached["reading"],
        "heads": cached["in_memory"],
    }
    report = {
        "size": args.size,
        "masks_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "shared_over_per_mask": round(rates["shared"] / rates["per_mask"], 2),
        "cached_over_images": round(rates["cached"] / rates["images"], 2),
        "time_cached_over_heads": round(rates["heads"] / rates["cached"], 3),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
