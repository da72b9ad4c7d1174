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

import dataclasses
import json
import sys

import tyro
from rich.console import Console

from pipelines.config_file import expand_config_file
from pipelines.corpus.report import words_table
from pipelines.corpus.tokenize import TokenizeConfig, plan_tokenization, run_tokenization
from samtok.errors import SamtokError


def main() -> int:
    """Parse, run, print the table; returns the exit status."""
    console = Console()
    try:
        arguments = expand_config_file(sys.argv[1:])
        config = tyro.cli(TokenizeConfig, description=__doc__, args=arguments)
        console.print_json(json.dumps(dataclasses.asdict(config)))
        if config.dry_run:
            for name, value in plan_tokenization(config).items():
                console.print(f"{name}: {value}")
            return 0
        summary = run_tokenization(config)
    except SamtokError as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        return 2
    console.print(words_table(summary))
    if summary.preview:
        console.print(f"picture: {summary.preview}", soft_wrap=True, highlight=False)
    if not summary.is_accounted:
        console.print("[red]error:[/red] rows in differ from rows out + rows quarantined")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
