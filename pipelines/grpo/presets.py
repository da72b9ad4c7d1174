"""Named settings of GRPO, by flag of the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

GRPO_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "tiny": {
        "tokenizer": "tiny",
        "prompts_per_step": 32,
        "responses_per_prompt": 16,
        "prompts_per_lane": 4,
        "max_length": 768,
        "rollouts": {
            "max_new_tokens": 48,
            "prompts_per_call": 32,
            "temperature": 0.7,
            "max_staleness": 1,
        },
        "rewards": {
            "weights": ("soft_matching=1", "answer_matching=0", "graded_matching=0"),
            "similarity": "expected_iou",
        },
        "training": {
            "num_steps": 200,
            "optimizer": "muon",
            "learning_rate": 1e-4,
            "normalize_by_std": False,
            "freeze_vision": True,
            "freeze_projector": True,
        },
    },
    "lora": {
        "prompts_per_step": 128,
        "responses_per_prompt": 8,
        "prompts_per_lane": 1,
        "max_length": 4096,
        "rollouts": {"max_new_tokens": 512, "prompts_per_call": 8, "max_tries": 2.0},
        "training": {
            "lora_rank": 64,
            "lora_alpha": 128,
            "learning_rate": 1e-5,
            "freeze_vision": True,
            "gradient_checkpointing": True,
        },
    },
}
"""tiny: a tiny model of jobs/train_sft.py, on a CPU; exact words are too seldom right to reward it
by. lora: hub models, on GPUs; not run yet."""
