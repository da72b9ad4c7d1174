"""Named settings of trainings, by flag of the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_FROM_SCRATCH: Final[Mapping[str, Any]] = {
    "optimizer": "muon",
    "commitment_weight": 0.5,
    "restart_below": 0.03,
    "restart_size": 0.15,
    "box_point_share": 0.5,
    "object_map_weight": 1.0,
    "backbone": "full",
}

TOKENIZER_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "tiny": {
        "size": "tiny",
        "corpus": ["scenes:1000000"],
        "images_per_step": 8,
        "images_per_lane": 4,
        "training": {
            **_FROM_SCRATCH,
            "num_steps": 17_500,
            "quantize_from_step": 8000,
            "learning_rate": 3e-3,
            "quantized_learning_rate": 1e-3,
        },
    },
    "quick": {
        "size": "tiny",
        "corpus": ["scenes:1000000"],
        "images_per_step": 16,
        "images_per_lane": 8,
        "checkpoint_every": 650,
        "validate_every": 1300,
        "training": {
            **_FROM_SCRATCH,
            "num_steps": 2500,
            "quantize_from_step": 1300,
            "full_size_from_step": 2000,
            "learning_rate": 4e-3,
        },
    },
    "published": {
        "size": "hiera_l",
        "images_per_step": 128,
        "images_per_lane": 2,
        "masks_per_image": 8,
        "training": {"num_steps": 200_000},
    },
}
"""tiny: the packaged tokenizer, from scratch. quick: one of its size in 25 minutes on two CPUs,
most of its steps at half size. published: the paper's recipe (section 4.1), 128 images of 8 masks
for its 1,024 masks a step; 209M masks are 204,000 steps."""

SFT_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "tiny": {
        "tokenizer": "tiny",
        "conversations_per_step": 96,
        "conversations_per_lane": 48,
        "conversations_per_window": 960,
        "batching": "packed",
        "max_length": 512,
        "training": {
            "num_steps": 1600,
            "optimizer": "muon",
            "learning_rate": 1e-3,
            "new_row_rate": 10.0,
            "word_rows": "codebook",
            "freeze_vision": True,
            "freeze_projector": True,
            "vision_cache_mib": 1024,
        },
    },
    "lora": {
        "conversations_per_step": 128,
        "conversations_per_lane": 4,
        "batching": "packed",
        "max_length": 4096,
        "training": {
            "lora_rank": 64,
            "lora_alpha": 128,
            "learning_rate": 1e-4,
            "freeze_vision": True,
            "gradient_checkpointing": True,
        },
    },
    "full": {
        "conversations_per_step": 128,
        "conversations_per_lane": 2,
        "batching": "packed",
        "max_length": 4096,
        "training": {
            "learning_rate": 1e-5,
            "freeze_vision": True,
            "gradient_checkpointing": True,
            "parallel": "fsdp",
        },
    },
}
"""tiny: the base of jobs/pretrain_tiny_base.py, on a CPU. lora, full: hub models, on GPUs."""
