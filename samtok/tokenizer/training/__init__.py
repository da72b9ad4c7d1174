"""Training a mask tokenizer: settings, batches, objective, and the step on one process or many."""

from samtok.tokenizer.training.batches import (
    TrainingBatch,
    TrainingSample,
    collate_masks,
    collate_samples,
)
from samtok.tokenizer.training.config import TokenizerTrainingConfig, learning_rate_at
from samtok.tokenizer.training.trainer import TokenizerTrainer

__all__ = [
    "TokenizerTrainer",
    "TokenizerTrainingConfig",
    "TrainingBatch",
    "TrainingSample",
    "collate_masks",
    "collate_samples",
    "learning_rate_at",
]
