r"""Turn every mask of a corpus into two words, on a Ray cluster.

Examples:
    python jobs/tokenize_corpus.py --source scenes --num-images 200 --output out/words --reconstruct
    python jobs/tokenize_corpus.py --source coco --annotations instances.json --images images \
        --output out/words --reconstruct
    python jobs/tokenize_corpus.py --source corpus --corpus out/corpus --output out/words
    python jobs/tokenize_corpus.py --source corpus --embeddings out/embeddings --output out/words
    ray job submit --working-dir . -- python jobs/tokenize_corpus.py --source coco \
        --annotations s3://bucket/instances.json --images s3://bucket/images \
        --output s3://bucket/words --tokenizer s3://bucket/tokenizer --gpus-per-actor 1

Writes OUTPUT/words/*.parquet (one row per mask), OUTPUT/quarantine/*.parquet (what was left out and
why), OUTPUT/preview.png and, last, OUTPUT/_manifest.json. Killed and run again with the same
command, it does only what is left. With --embeddings (see jobs/embed_corpus.py) no image is opened
and the backbone never runs; codes differ from those of images by float16 rounding only, and
embeddings of another backbone are refused. --config OUTPUT/_manifest.json takes the settings of an
earlier run; flags beside it win. Exit status: 0 every row is accounted for, 2 the settings or the
annotation file cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys

from pipelines.corpus.report import find_imbalance, words_table
from pipelines.corpus.tokenize import TokenizeConfig, plan_tokenization, run_tokenization
from pipelines.job import Outcome, describe_plan, run_job


def run(config: TokenizeConfig) -> Outcome:
    """The job: its table, and whether every row is accounted for."""
    if config.dry_run:
        return describe_plan(plan_tokenization(config))
    summary = run_tokenization(config)
    picture = [f"picture: {summary.preview}"] if summary.preview else []
    return Outcome([words_table(summary), *picture], find_imbalance(summary))


def main() -> int:
    """The command; returns its exit status."""
    return run_job(TokenizeConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
