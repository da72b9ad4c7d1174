"""Supervised fine-tuning of a multimodal language model: settings, loss, and the step."""

from samtok.mllm.training.batches import SftBatch, make_batch
from samtok.mllm.training.config import SftConfig
from samtok.mllm.training.trainer import SftTrainer

__all__ = ["SftBatch", "SftConfig", "SftTrainer", "make_batch"]
