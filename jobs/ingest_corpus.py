r"""Turn any corpus into one form: Parquet, a row per image with its checked masks and its texts.

Examples:
    python jobs/ingest_corpus.py --source scenes --num-images 200 --output out/corpus
    python jobs/ingest_corpus.py --source coco --annotations instances.json --images images \
        --output out/corpus
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

import dataclasses
import json
import sys

import tyro
from rich.console import Console

from pipelines.config_file import expand_config_file
from pipelines.corpus.ingest import IngestConfig, plan_ingestion, run_ingestion
from pipelines.corpus.report import corpus_table
from samtok.errors import SamtokError


def main() -> int:
    """Parse, run, print the table; returns the exit status."""
    console = Console()
    try:
        arguments = expand_config_file(sys.argv[1:])
        config = tyro.cli(IngestConfig, description=__doc__, args=arguments)
        console.print_json(json.dumps(dataclasses.asdict(config)))
        if config.dry_run:
            for name, value in plan_ingestion(config).items():
                console.print(f"{name}: {value}")
            return 0
        summary = run_ingestion(config)
    except SamtokError as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        return 2
    console.print(corpus_table(summary))
    if not summary.is_accounted:
        console.print("[red]error:[/red] rows in differ from rows out + rows quarantined")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
