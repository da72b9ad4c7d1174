r"""Measure what a tokenizer keeps of the masks of a corpus, on a Ray cluster.

Examples:
    python jobs/evaluate_tokenizer.py --source scenes --num-images 300 --split val --output out/eval
    python jobs/evaluate_tokenizer.py --corpus out/corpus --tokenizer out/tokenizer \
        --stability --output out/eval
    ray job submit --working-dir . -- python jobs/evaluate_tokenizer.py \
        --corpus s3://bucket/corpus --tokenizer s3://bucket/tokenizer --gpus-per-actor 1 \
        --output s3://bucket/eval

Writes OUTPUT/report.json and report.md (IoU over all, by area and by category; boundary F; the
first word alone; boxes, polygons and bitmaps beside it; use of the codebooks; stability of the
words), OUTPUT/panel.png (the worst, median and best masks), usage.png, area.png, with
--expected-iou OUTPUT/expected_iou.safetensors (to be put beside the tokenizer, for GRPO),
OUTPUT/quarantine/*.parquet (masks that could not be measured and why) and, last,
OUTPUT/_manifest.json. --config OUTPUT/_manifest.json takes the settings of an earlier run; flags
beside it win. Exit status: 0 every mask is accounted for and at least one was measured, 2 the
settings, the corpus or the tokenizer cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys
from typing import Final

from pipelines.evaluation.report import build_sections
from pipelines.evaluation.sections import as_tables
from pipelines.evaluation.tokenizer import EvaluateTokenizerConfig, run_evaluation
from pipelines.job import Outcome, run_job

_MAX_CATEGORIES: Final = 12
"""Rows of the table on the terminal; report.md has all."""


def run(config: EvaluateTokenizerConfig) -> Outcome:
    """The job: its tables and pictures, and whether every mask is accounted for."""
    summary = run_evaluation(config)
    tables = as_tables(build_sections(summary, max_categories=_MAX_CATEGORIES))
    pictures = [f"picture: {picture}" for picture in summary.pictures]
    failure = None
    if not summary.is_accounted:
        failure = "masks in differ from masks measured and left out"
    elif summary.report.overall.num_masks == 0:
        failure = f"no mask was measured; see {summary.output}/quarantine"
    return Outcome([*tables, *pictures], failure)


def main() -> int:
    """The command; returns its exit status."""
    return run_job(EvaluateTokenizerConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
