"""GRPO of a multimodal language model: settings, batches of groups, and the step."""

from samtok.mllm.grpo.batches import GroupBatch, ScoredGroup, make_group_batch
from samtok.mllm.grpo.config import GrpoConfig
from samtok.mllm.grpo.trainer import GrpoTrainer

__all__ = ["GroupBatch", "GrpoConfig", "GrpoTrainer", "ScoredGroup", "make_group_batch"]
