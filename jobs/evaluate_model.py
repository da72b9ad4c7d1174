r"""Ask a language model the conversations of a corpus and measure its answers, on a Ray cluster.

Examples:
    python jobs/evaluate_model.py --model out/sft/model --conversations out/dialogues \
        --limit 500 --output out/eval
    python jobs/evaluate_model.py --model out/sft/model --conversations out/dialogues \
        --blank-image --compare-with out/untaught --output out/eval
    ray job submit --working-dir . -- python jobs/evaluate_model.py --model /shared/model \
        --conversations s3://bucket/dialogues --gpus-per-actor 1 --output s3://bucket/eval

Writes OUTPUT/report.json and report.md, by task: gIoU, cIoU, N-acc and T-acc as gRefCOCO measures
them, box accuracy, cIoU by round, mIoU, AP50 and recall of grounded phrases, recall of triplets,
what captions name, answers that are right, mask words that are exact; a column for each model
compared, and for the model with its image blanked. OUTPUT/answers.parquet has every answer,
OUTPUT/answers-TASK.png shows some with their masks beside the right ones,
OUTPUT/quarantine/*.parquet has the conversations that could not be asked and why, and
OUTPUT/_manifest.json is written last. --config OUTPUT/_manifest.json takes the settings of an
earlier run; flags beside it win. Exit status: 0 every conversation is accounted for and at least
one was measured, 2 the settings, the conversations, a model or the tokenizer cannot be used, 1
anything else.
"""

from __future__ import annotations

import sys

from pipelines.evaluation.model import run_model_evaluation
from pipelines.evaluation.model_config import EvaluateModelConfig
from pipelines.evaluation.model_tables import build_model_sections
from pipelines.evaluation.sections import as_tables
from pipelines.job import Outcome, run_job


def run(config: EvaluateModelConfig) -> Outcome:
    """The job: its tables and pictures, and whether every conversation is accounted for."""
    summary = run_model_evaluation(config)
    pictures = [f"picture: {picture}" for picture in summary.pictures]
    failure = None
    if not summary.is_accounted:
        failure = "conversations in differ from conversations measured and left out"
    elif not all(summary.num_answered.values()):
        failure = f"no conversation was measured; see {summary.output}/quarantine"
    return Outcome([*as_tables(build_model_sections(summary)), *pictures], failure)


def main() -> int:
    """The command; returns its exit status."""
    return run_job(EvaluateModelConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
