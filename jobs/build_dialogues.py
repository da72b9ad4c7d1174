r"""Turn the texts of a corpus and the words of its masks into conversations for six tasks.

Examples:
    python jobs/ingest_corpus.py --source scenes --num-images 2000 --output out/corpus
    python jobs/tokenize_corpus.py --source corpus --corpus out/corpus --output out/words \
        --reconstruct
    python jobs/build_dialogues.py --corpus out/corpus --words out/words --output out/dialogues
    python jobs/build_dialogues.py --corpus out/corpus --words out/words --output out/dialogues \
        --weights.referring-segmentation 3 --weights.scene-graph 0.5 \
        --min-reconstruction-iou 0.7 --drop-colliding
    python jobs/build_dialogues.py --corpus out/corpus --words out/words --output out/dialogues \
        --general vqa.jsonl --general-images images
    ray job submit --working-dir . -- python jobs/build_dialogues.py --corpus s3://bucket/corpus \
        --words s3://bucket/words --output s3://bucket/dialogues

Tasks: region_captioning, region_vqa, grounded_conversation, referring_segmentation, scene_graph,
interactive_segmentation, and general_vqa for the conversations of --general. A prompt settles the
form of its answer: masks only by default, a fenced JSON list where it says JSON, phrases followed
by their masks where it asks for a description with masks, and "No target." where nothing fits.

Writes OUTPUT/conversations/*.parquet (conversation_id, task, image_id, image_uri, image, height,
width, messages, target_words, mask_ids, source), OUTPUT/quarantine/*.parquet (texts that were left
out and why), OUTPUT/preview.png (samples of every task) and, last, OUTPUT/_manifest.json with the
tokenizer's fingerprint. Texts in = texts used + texts that the mixture did not draw + texts
quarantined. Rows of an image lie side by side, so readers shuffle. Killed and run again with the
same command, it does only what is left; the same seed gives the same conversations whatever the
cluster. --config OUTPUT/_manifest.json takes the settings of an earlier run; flags beside it win.
Exit status: 0 every text is accounted for, 2 the settings or the inputs cannot be used, 1 anything
else.
"""

from __future__ import annotations

import sys

from pipelines.corpus.dialogues import DialoguesConfig, plan_dialogues, run_dialogues
from pipelines.corpus.report import dialogues_table, find_imbalance
from pipelines.job import Outcome, describe_plan, run_job


def run(config: DialoguesConfig) -> Outcome:
    """The job: its table and picture, and whether every text is accounted for."""
    if config.dry_run:
        return describe_plan(plan_dialogues(config))
    summary = run_dialogues(config)
    picture = [f"picture: {summary.preview}"] if summary.preview else []
    return Outcome([dialogues_table(summary), *picture], find_imbalance(summary))


def main() -> int:
    """The command; returns its exit status."""
    return run_job(DialoguesConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
