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
words), OUTPUT/panel.png (the worst, median and best masks), usage.png, area.png,
OUTPUT/quarantine/*.parquet (masks that could not be measured and why) and, last,
OUTPUT/_manifest.json. --config OUTPUT/_manifest.json takes the settings of an earlier run; flags
beside it win. Exit status: 0 every mask is accounted for and at least one was measured, 2 the
settings, the corpus or the tokenizer cannot be used, 1 anything else.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Final

import tyro
from rich.console import Console

from pipelines.config_file import expand_config_file
from pipelines.evaluation.report import as_tables, build_sections
from pipelines.evaluation.tokenizer import EvaluateTokenizerConfig, run_evaluation
from samtok.errors import SamtokError

_MAX_CATEGORIES: Final = 12
"""Rows of the table on the terminal; report.md has all."""


def main() -> int:
    """Parse, run, print the tables; returns the exit status."""
    console = Console()
    try:
        arguments = expand_config_file(sys.argv[1:])
        config = tyro.cli(EvaluateTokenizerConfig, description=__doc__, args=arguments)
        console.print_json(json.dumps(dataclasses.asdict(config)))
        summary = run_evaluation(config)
    except SamtokError as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        return 2
    for table in as_tables(build_sections(summary, max_categories=_MAX_CATEGORIES)):
        console.print(table)
    for picture in summary.pictures:
        console.print(f"picture: {picture}", soft_wrap=True, highlight=False)
    if not summary.is_accounted:
        console.print("[red]error:[/red] masks in differ from masks measured and left out")
        return 1
    if summary.report.overall.num_masks == 0:
        console.print(f"[red]error:[/red] no mask was measured; see {summary.output}/quarantine")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
