"""Add the 514 mask words to the vocabulary of a Qwen-VL model.

Example:
    python jobs/extend_vocabulary.py --model Qwen/Qwen3-VL-4B-Instruct --output out/qwen3-vl-4b

Writes a folder in hub layout (weights, tokenizer, processor, model card). Words that are there
already keep their ids, and a model that has them all, as the published ones do, is copied as it is.
Exit status: 0 done, 2 the settings or the model cannot be used.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.job import Outcome, run_job
from samtok.errors import ConfigError
from samtok.mllm import extend_vocabulary, load_mllm, save_mllm


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtendVocabularyConfig:
    """Settings of the job."""

    model: str
    """Hub id or folder of a Qwen3-VL or Qwen2.5-VL model."""
    output: str
    """Folder to write to; made if absent, refused if anything is in it."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the weights written; those of the hub models are bfloat16."""
    seed: int = 0
    """Seed of the new rows."""

    def __post_init__(self) -> None:
        folder = Path(self.output)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(
                f"output is {self.output!r}, which is not an empty folder; empty it or name another"
            )


def run(config: ExtendVocabularyConfig) -> Outcome:
    """The job: what was done, and where it is."""
    mllm = load_mllm(config.model, device="cpu", dtype=config.dtype)
    rows_before = mllm.model.get_input_embeddings().num_embeddings
    was_extended = extend_vocabulary(mllm.model, mllm.processor, seed=config.seed)
    folder = save_mllm(mllm, config.output)
    rows = mllm.model.get_input_embeddings().num_embeddings
    done = "had all mask words" if was_extended else "now has all mask words"
    return Outcome(
        [
            f"{config.model} {done}: {len(mllm.tokenizer)} tokens, {rows} rows "
            f"({rows - rows_before} new)",
            f"model: {folder}",
        ]
    )


def main() -> int:
    """The command; returns its exit status."""
    return run_job(ExtendVocabularyConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
