r"""Teach a language model to read and write masks, by next-token prediction on Ray Train.

Examples:
    python jobs/train_sft.py --preset tiny --model out/base/model --conversations out/dialogues \
        --output out/sft
    python jobs/train_sft.py --preset lora --model Qwen/Qwen3-VL-4B-Instruct \
        --tokenizer s3://bucket/tokenizer --conversations s3://bucket/dialogues s3://bucket/vqa \
        --conversation-weights 4 1 --validation-conversations s3://bucket/dialogues-val \
        --output s3://bucket/sft --num-workers 8 --gpus-per-worker 1
    ray job submit --working-dir . -- python jobs/train_sft.py --preset tiny \
        --model /shared/base/model --conversations s3://bucket/dialogues \
        --output s3://bucket/sft --num-workers 2

Conversations come from jobs/build_dialogues.py and must be made with --tokenizer. The loss is that
of answers only, a mean over all their tokens in a step. --preset tiny is for the base that
jobs/pretrain_tiny_base.py makes, on a CPU; lora and full are for hub models on GPUs. Flags beside a
preset win.

Writes OUTPUT/model (hub layout: load with samtok.mllm.load_mllm or transformers; LoRA is merged
unless --no-merge-lora), OUTPUT/ray_train (the best checkpoint by validation and the last),
OUTPUT/quarantine/*.parquet (conversations met that could not be learned from, and why) and, last,
OUTPUT/_manifest.json. Killed and run again with the same command, it goes on from the last
checkpoint. --config OUTPUT/_manifest.json takes the settings of an earlier run. Runs are recorded
in ./mlflow.db (look with `mlflow ui --backend-store-uri sqlite:///mlflow.db`) or where
MLFLOW_TRACKING_URI says: losses, learning rate, tokens per second; at every validation the loss by
task, and a picture of questions, answers and their masks.
Exit status: 0 trained, 2 the settings cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys

from pipelines.job import Outcome, run_job
from pipelines.training.presets import SFT_PRESETS
from pipelines.training.sft import TrainSftConfig, run_sft
from pipelines.training.summary import training_table


def run(config: TrainSftConfig) -> Outcome:
    """The job and its table."""
    return Outcome([training_table(run_sft(config))])


def main() -> int:
    """The command; returns its exit status."""
    return run_job(TrainSftConfig, run, description=__doc__, presets=SFT_PRESETS)


if __name__ == "__main__":
    sys.exit(main())
