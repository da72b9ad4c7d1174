"""What the workers around the tokenizer may cost."""

import subprocess
import sys
from pathlib import Path

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
