r"""Reward a language model for the masks it names, by their words alone: GRPO on Ray.

Examples:
    python jobs/train_grpo.py --preset tiny --model out/sft/model --conversations out/dialogues \
        --audit-conversations out/dialogues-val --output out/grpo
    python jobs/train_grpo.py --preset lora --model s3://bucket/sft/model \
        --tokenizer s3://bucket/tokenizer --conversations s3://bucket/dialogues \
        --output s3://bucket/grpo --num-workers 4 --gpus-per-worker 1 \
        --rollouts.num-actors 4 --rollouts.gpus-per-actor 1 --rollouts.max-staleness 1
    python jobs/train_grpo.py --preset tiny --model out/sft/model --conversations out/dialogues \
        --output out/grpo --rewards.weights graded_matching=1 no_repeat=0.2 \
        grounded_conversation/phrase_accuracy=0.5

Conversations come from jobs/build_dialogues.py and must be made with --tokenizer; the model, from
jobs/train_sft.py, writes mask words already. The last answer of each conversation is sampled
--responses-per-prompt times by rollout actors, each answer is worth what --rewards says of its text
(no mask is decoded), and answers that are worth more than the others of their prompt become
likelier. --rollouts.max-staleness 1 generates the next batch while this one is trained on.
--rollouts.max-tries above 1 replaces prompts whose answers are all worth the same. Flags beside a
preset win.

With --audit-conversations, answers to held-out prompts are decoded before the first step and at
every validation, and compared with the true masks: gIoU, N-acc and how rewards go along with IoU,
so that a reward that is cheated shows; the best checkpoint by gIoU is the result.

Writes OUTPUT/model (hub layout: load with samtok.mllm.load_mllm or transformers; LoRA is merged
unless --no-merge-lora), OUTPUT/ray_train (the best checkpoint and the last),
OUTPUT/quarantine/*.parquet (prompts met that could not be asked, and why) and, last,
OUTPUT/_manifest.json. Killed and run again with the same command, it goes on from the last
checkpoint. --config OUTPUT/_manifest.json takes the settings of an earlier run. Runs are recorded
in ./mlflow.db (look with `mlflow ui --backend-store-uri sqlite:///mlflow.db`) or where
MLFLOW_TRACKING_URI says: rewards, spread, entropy, clipping, lengths, refusals, staleness, rates
and idle shares; tables of responses; audits with a picture of answers and their masks.
Exit status: 0 trained, 2 the settings cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys

from pipelines.grpo.presets import GRPO_PRESETS
from pipelines.grpo.run import TrainGrpoConfig, run_grpo
from pipelines.job import Outcome, run_job
from pipelines.training.summary import training_table


def run(config: TrainGrpoConfig) -> Outcome:
    """The job and its table."""
    return Outcome([training_table(run_grpo(config))])


def main() -> int:
    """The command; returns its exit status."""
    return run_job(TrainGrpoConfig, run, description=__doc__, presets=GRPO_PRESETS)


if __name__ == "__main__":
    sys.exit(main())
