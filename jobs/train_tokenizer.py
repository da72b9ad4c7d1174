r"""Train a mask tokenizer on Ray Train; its runs go to MLflow.

Examples:
    python jobs/train_tokenizer.py --preset tiny --output out/tiny --num-workers 2
    python jobs/train_tokenizer.py --preset published --init sam2.1_hiera_large.pt \
        --size hiera_l --corpus s3://bucket/coco s3://bucket/sa1b --corpus-weights 1 4 \
        --output s3://bucket/tokenizer --num-workers 64 --gpus-per-worker 1
    ray job submit --working-dir . -- python jobs/train_tokenizer.py --preset tiny \
        --output s3://bucket/tiny --num-workers 2

--preset tiny is the recipe of the packaged tokenizer, from scratch on built-in scenes; quick makes
a worse one of that size in 25 minutes on two CPU cores; published is the paper's. Flags beside it
win. Writes OUTPUT/tokenizer (load with SAMTok.from_pretrained), OUTPUT/ray_train (the best
checkpoint by validation and the last) and, last, OUTPUT/_manifest.json.
Killed and run again with the same command, it goes on from the last checkpoint; finished, it says
so and stops. --config OUTPUT/_manifest.json takes the settings of an earlier run. Runs are recorded
in ./mlflow.db (look with `mlflow ui --backend-store-uri sqlite:///mlflow.db`) or where
MLFLOW_TRACKING_URI says.
Exit status: 0 trained, 2 the settings cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys

from pipelines.job import Outcome, run_job
from pipelines.training.presets import TOKENIZER_PRESETS
from pipelines.training.summary import training_table
from pipelines.training.tokenizer import TrainTokenizerConfig, run_tokenizer_training


def run(config: TrainTokenizerConfig) -> Outcome:
    """The job and its table."""
    return Outcome([training_table(run_tokenizer_training(config))])


def main() -> int:
    """The command; returns its exit status."""
    return run_job(TrainTokenizerConfig, run, description=__doc__, presets=TOKENIZER_PRESETS)


if __name__ == "__main__":
    sys.exit(main())
