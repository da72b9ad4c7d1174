r"""Reproduce the method: corpus, tokenizer, mask words, dialogues, SFT, GRPO, evaluation, report.

Examples:
    python jobs/reproduce_method.py --preset smoke --output out/smoke
    python jobs/reproduce_method.py --preset smoke --output out/smoke --dry-run
    python jobs/reproduce_method.py --preset laptop --output out/reproduce
    ray job submit --working-dir . -- python jobs/reproduce_method.py --config qwen3_vl.json \
        --output s3://bucket/reproduction

Each stage is a job of its own, run by the command that --dry-run prints; a setting of this job is
the flags of one of them, in quotes: --train-sft="--preset tiny --model tiny-base". --preset smoke
runs through everything in minutes, on a few built-in scenes, and teaches nothing; laptop teaches a
tiny model in one to two hours on two CPU cores, with the packaged tokenizer and base model.
--config is a JSON object of these settings, for your corpora and models.

Writes OUTPUT/STAGE for every stage, OUTPUT/report.html and report.md. Stopped and run again with
the same command, it leaves out the stages that are finished and goes on within the one that is not.
Runs are recorded in ./mlflow.db or where MLFLOW_TRACKING_URI says, those of trainings and of the
evaluation below one for the whole. Exit status: 0 all stages ended well, 2 the settings cannot be
used or a stage failed, 1 anything else.
"""

from __future__ import annotations

import sys

from pipelines.job import Outcome, run_job
from pipelines.reproduction.plan import REPRODUCTION_PRESETS, ReproduceConfig, plan_stages
from pipelines.reproduction.run import run_reproduction


def run(config: ReproduceConfig) -> Outcome:
    """The job, and where its page is."""
    if config.dry_run:
        return Outcome([stage.command for stage in plan_stages(config)])
    summary = run_reproduction(config)
    return Outcome([f"report: {summary.report}"])


def main() -> int:
    """The command; returns its exit status."""
    return run_job(ReproduceConfig, run, description=__doc__, presets=REPRODUCTION_PRESETS)


if __name__ == "__main__":
    sys.exit(main())
