"""What the workers around the tokenizer may cost."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipelines.corpus.embed_stage import EmbedStage
from pipelines.corpus.tokenize_stage import TokenizeStage
from samtok.tokenizer import SAMTok

ROOT = Path(__file__).parents[3]


def test_cpu_workers_run_without_torch():
    """It takes 350 MB in every process; only the actors need it."""
    program = (
        "import sys\n"
        "from pipelines.corpus.stages import DecodeStage, WriteStage\n"
        "from pipelines.corpus.embedding_rows import build_embeddings_block\n"
        "from pipelines.corpus.ingest import IngestStage\n"
        "from pipelines.corpus.word_rows import build_words_block\n"
        "from pipelines.corpus.sources.coco import CocoSource\n"
        "from pipelines.corpus.sources.corpus import CorpusSource\n"
        "from pipelines.corpus.sources.embeddings import EmbeddingsSource\n"
        "from pipelines.corpus.sources.scenes import ScenesSource\n"
        "ScenesSource(num_images=1, split='val', seed=0)._generate(0)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"], done.stderr


@pytest.mark.parametrize(
    ("stage", "options"),
    [
        (EmbedStage, {}),
        (TokenizeStage, {"reconstruct": False, "is_embedded": False}),
        (TokenizeStage, {"reconstruct": True, "is_embedded": False}),
        (TokenizeStage, {"reconstruct": True, "is_embedded": True}),
    ],
)
@pytest.mark.parametrize("part", ["embed", "encode", "decode"])
def test_a_device_too_small_for_the_work_fails_before_any_image_is_read(
    stage, options, part, monkeypatch
):
    """Work that the actor will not do is not tried: maps that are there need no backbone."""

    def run_out_of_memory(*args, **kwargs):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(SAMTok, part, run_out_of_memory)
    used = [] if options.get("is_embedded") else ["embed"]
    if stage is TokenizeStage:
        used += ["encode", "decode"] if options["reconstruct"] else ["encode"]
    arguments = {"device": "cpu", "num_threads": torch.get_num_threads(), **options}
    if part in used:
        with pytest.raises(torch.OutOfMemoryError):
            stage("tiny", **arguments)
    else:
        stage("tiny", **arguments)
