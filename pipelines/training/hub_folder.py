"""What a training leaves of a language model: a folder in hub layout.

Used by supervised fine-tuning, GRPO and the pretraining of the tiny base.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Final

import ray.train
import torch

from pipelines.storage import Place
from pipelines.training.fit import upload
from pipelines.training.loop import STATE_FILE
from samtok.mllm import MaskTokenizerReference, Mllm, load_extended, save_mllm
from samtok.mllm.training import SftConfig
from samtok.mllm.training.base import LearningModel
from samtok.mllm.training.lora import merge_adapters, save_adapters

MODEL_FOLDER: Final = "model"
REGISTERED_MODEL: Final = "samtok-mllm"


def write_model(
    checkpoint: ray.train.Checkpoint,
    output: Place,
    *,
    model: str,
    training: SftConfig,
    reference: MaskTokenizerReference,
    merge_lora: bool,
) -> None:
    """Write the model of a checkpoint as a folder in hub layout.

    Args:
        checkpoint: of the training.
        output: the folder goes there.
        model: that the training started from.
        training: its settings.
        reference: of the mask tokenizer, which goes into the folder.
        merge_lora: add adapters to the weights, or write them beside.
    """
    alone = dataclasses.replace(training, parallel="ddp")
    mllm = load_extended(model, torch.device("cpu"), seed=training.seed)
    learner = LearningModel(mllm, alone, torch.device("cpu"))
    with checkpoint.as_directory() as folder:
        state = torch.load(
            Path(folder) / STATE_FILE, map_location="cpu", weights_only=True, mmap=True
        )
        learner.load_weights(state["trainer"]["weights"].items())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        result = learner.model
        if learner.adapted is not None and merge_lora:
            result = merge_adapters(learner.adapted)
        elif learner.adapted is not None:
            result = save_adapters(learner.adapted, folder)
        save_mllm(Mllm(result.eval(), mllm.processor, reference), folder)
        upload(folder, output, MODEL_FOLDER)
