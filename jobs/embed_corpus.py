r"""Run the backbone over a corpus once, and keep what it sees for any number of later runs.

Examples:
    python jobs/embed_corpus.py --source corpus --corpus out/corpus --output out/embeddings
    python jobs/embed_corpus.py --source corpus --corpus s3://bucket/corpus \
        --output s3://bucket/embeddings --tokenizer s3://bucket/tokenizer --gpus-per-actor 1
    python jobs/tokenize_corpus.py --source corpus --embeddings out/embeddings --output out/words

What it costs, per image with masks, however many it has:

    size                     kept (float16)   backbone, 2 CPU cores
    tiny     (256 x 256)     0.20 MB          about 7 ms
    hiera_t  (1024 x 1024)   8.4 MB           about 4 s
    hiera_s  (1024 x 1024)   8.4 MB           not measured
    hiera_b+ (1024 x 1024)   8.4 MB           not measured
    hiera_l  (1024 x 1024)   8.4 MB           14 to 16 s

The maps hold 256 x 64 x 64 + 32 x 256 x 256 + 64 x 128 x 128 = 4.2 million numbers at 1024 x 1024,
whatever the backbone: 8.4 GB per thousand images, 8.4 TB per million. --dry-run says what a corpus
would take.

When it pays: the backbone is frozen, and the images are read more than once: several epochs, or
several runs over one corpus (training, tokenization, evaluation). Reading one image back takes
bytes / bandwidth, 8 ms at 1 GB/s and 84 ms at 100 MB/s, so it beats the backbone while storage
gives each reader more than bytes / backbone time: 2 MB/s against 4 s, 0.6 MB/s against 15 s, and
170 MB/s against a GPU that needs 50 ms. It does not pay for a single pass, nor where the backbone
is trained or images are augmented.

Writes OUTPUT/embeddings/*.parquet (image_id, image_uri, height, width, source, masks and the maps
embedding_image, embedding_fine, embedding_middle; no image), OUTPUT/quarantine/*.parquet and, last,
OUTPUT/_manifest.json with the shapes and the backbone's fingerprint. Any tokenizer with that
backbone reads them, whatever its heads and codebooks; another is refused. Killed and run again with
the same command, it does only what is left. --config OUTPUT/_manifest.json takes the settings of an
earlier run; flags beside it win. Exit status: 0 every row is accounted for, 2 the settings or the
corpus cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys

from pipelines.corpus.embed import EmbedConfig, plan_embedding, run_embedding
from pipelines.corpus.report import embeddings_table, find_imbalance
from pipelines.job import Outcome, describe_plan, run_job


def run(config: EmbedConfig) -> Outcome:
    """The job: its table, and whether every row is accounted for."""
    if config.dry_run:
        return describe_plan(plan_embedding(config))
    summary = run_embedding(config)
    return Outcome([embeddings_table(summary)], find_imbalance(summary))


def main() -> int:
    """The command; returns its exit status."""
    return run_job(EmbedConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
