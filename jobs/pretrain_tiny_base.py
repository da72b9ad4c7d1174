r"""Pretrain the tiny base model on built-in scenes; its runs go to MLflow.

Examples:
    python jobs/pretrain_tiny_base.py --output out/tiny_base --num-workers 2
    python jobs/pretrain_tiny_base.py --init tiny-base --training.vision-steps 0 \
        --output out/better_base --num-workers 2
    ray job submit --working-dir . -- python jobs/pretrain_tiny_base.py --output out/tiny_base

Hub models come pretrained; this gives the tiny Qwen3-VL the same start. Its vision tower first
learns from dense supervision what stands where, then model and tower learn from questions,
captions, names and boxes as text. It hears no mask words: jobs/train_sft.py teaches them. Writes
OUTPUT/model (hub layout: load with samtok.mllm.load_mllm), OUTPUT/ray_train (checkpoints) and,
last, OUTPUT/_manifest.json. Killed and run again with the same command, it goes on from the last
checkpoint.
Exit status: 0 trained, 2 the settings cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys

from pipelines.job import Outcome, run_job
from pipelines.training.summary import training_table
from pipelines.training.tiny_base import PretrainTinyBaseConfig, run_tiny_base_pretraining


def run(config: PretrainTinyBaseConfig) -> Outcome:
    """The job and its table."""
    return Outcome([training_table(run_tiny_base_pretraining(config))])


def main() -> int:
    """The command; returns its exit status."""
    return run_job(PretrainTinyBaseConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
