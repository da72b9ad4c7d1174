"""Train the tiny mask tokenizer from scratch on generated scenes, in one process.

Example:
    python jobs/train_tokenizer.py --output out/tiny

Writes ``config.json`` and ``model.safetensors`` (load with ``SAMTok.from_pretrained(folder)``),
``log.jsonl`` with the figures of every fiftieth step, and ``state.pt``, from which the same command
continues after a kill.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from rich.progress import Progress
from torch.utils.data import DataLoader, Subset

from samtok.scenes.training_batches import SceneBatches
from samtok.tokenizer import PRESETS, SAMTok
from samtok.tokenizer.device import choose_device, choose_dtype
from samtok.tokenizer.training import TokenizerTrainer, TokenizerTrainingConfig

LOG_EVERY, SAVE_EVERY = 50, 500


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainTokenizerConfig:
    """Settings of the job."""

    output: Path
    """Folder for the tokenizer, its log and its state."""
    size: str = "tiny"
    """Named size of the model."""
    images_per_batch: int = 8
    """Scenes per step."""
    masks_per_image: int = 8
    """At most this many masks of a scene per step."""
    device: str = "auto"
    """auto, cpu or cuda."""
    training: TokenizerTrainingConfig = field(
        default_factory=lambda: TokenizerTrainingConfig(
            num_steps=7500,
            quantize_from_step=3500,
            optimizer="muon",
            learning_rate=3e-3,
            quantized_learning_rate=2e-3,
            commitment_weight=0.25,
            box_point_share=0.5,
            object_map_weight=1.0,
            backbone="full",
        )
    )
    """The loop's settings."""


def main(config: TrainTokenizerConfig) -> None:
    """Train, save, and say where."""
    # Gradients of well-fitted masks turn denormal, and the CPU then needs ten times as long a step.
    torch.set_flush_denormal(True)
    config.output.mkdir(parents=True, exist_ok=True)
    state_file = config.output / "state.pt"
    device = choose_device(config.device)
    shape = PRESETS[config.size]
    tokenizer = SAMTok.from_config(shape, device=device, seed=config.training.seed)
    trainer = TokenizerTrainer(
        tokenizer.network, config.training, device=device, dtype=choose_dtype("auto", device)
    )
    num_read = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        trainer.load_state_dict(state["trainer"])
        num_read = state["num_read"]
    batches = SceneBatches(
        2 * config.training.num_steps,  # k-means reads some too
        images_per_batch=config.images_per_batch,
        masks_per_image=config.masks_per_image,
        image_size=shape.image_size,
        seed=config.training.seed,
    )
    ahead = Subset(batches, range(num_read, len(batches)))
    loader = iter(DataLoader(ahead, batch_size=None, num_workers=1, prefetch_factor=8))
    with Progress() as progress, (config.output / "log.jsonl").open("a") as log:
        bar = progress.add_task("training", total=config.training.num_steps)
        while trainer.step < config.training.num_steps:
            if trainer.needs_codebooks:
                vectors: list[torch.Tensor] = []
                while sum(map(len, vectors)) < config.training.kmeans_vectors:
                    vectors.append(trainer.embed([next(loader)]))
                    num_read += 1
                trainer.start_codebooks(torch.cat(vectors))
            figures = trainer.train_step([next(loader)])
            num_read += 1
            progress.update(bar, completed=trainer.step)
            if trainer.step % LOG_EVERY == 0:
                log.write(json.dumps({"step": trainer.step, **figures}) + "\n")
                log.flush()
            if trainer.step % SAVE_EVERY == 0:
                torch.save({"trainer": trainer.state_dict(), "num_read": num_read}, state_file)
                tokenizer.save_pretrained(config.output)
    folder = tokenizer.save_pretrained(config.output)
    print(f"tokenizer saved to {folder}")  # noqa: T201, the job's summary


if __name__ == "__main__":
    main(tyro.cli(TrainTokenizerConfig, description=__doc__))
