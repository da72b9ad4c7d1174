r"""Turn any corpus into one form: Parquet, a row per image with its checked masks and its texts.

Examples:
    python jobs/ingest_corpus.py --source scenes --num-images 200 --output out/corpus
    python jobs/ingest_corpus.py --source coco --annotations instances.json --images images \
        --output out/corpus
    python jobs/ingest_corpus.py --source coco --annotations out/scenes/instances.json \
        --images out/scenes/images --texts out/scenes/texts.jsonl --output out/corpus
    ray job submit --working-dir . -- python jobs/ingest_corpus.py --source coco \
        --annotations s3://bucket/instances.json --images s3://bucket/images \
        --output s3://bucket/corpus --carry-images yes

Every later job reads the result with --source corpus --corpus OUTPUT and need not know the format
any more. Annotations are parsed and every image is opened once, here; what is broken is left out
and said why.

Writes OUTPUT/corpus/*.parquet, OUTPUT/quarantine/*.parquet (what was left out and why) and, last,
OUTPUT/_manifest.json. Rows: image_id, image_uri, height, width, source, image (the encoded file,
see --carry-images), masks (mask_id, rle, category, is_crowd), texts (kind, text, mask_ids, spans).
Killed and run again with the same command, it does only what is left. --config
OUTPUT/_manifest.json takes the settings of an earlier run; flags beside it win. Exit status: 0
every row is accounted for, 2 the settings or the annotation file cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys

from pipelines.corpus.ingest import IngestConfig, plan_ingestion, run_ingestion
from pipelines.corpus.report import corpus_table, find_imbalance
from pipelines.job import Outcome, describe_plan, run_job


def run(config: IngestConfig) -> Outcome:
    """The job: its table, and whether every row is accounted for."""
    if config.dry_run:
        return describe_plan(plan_ingestion(config))
    summary = run_ingestion(config)
    return Outcome([corpus_table(summary)], find_imbalance(summary))


def main() -> int:
    """The command; returns its exit status."""
    return run_job(IngestConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
