"""What benchmarks of quality share: a tokenizer, and scenes of the test split."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from samtok import SAMTok
from samtok.scenes import Scene, generate_scene


def load(description: str | None) -> tuple[SAMTok, Iterator[Scene]]:
    """Read ``--tokenizer`` and ``--num-images``; gives the tokenizer and that many scenes.

    Args:
        description: of the benchmark, for its ``--help``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", default="tiny")
    parser.add_argument("--num-images", type=int, default=60)
    args = parser.parse_args()
    scenes = (generate_scene(index, split="test") for index in range(args.num_images))
    return SAMTok.from_pretrained(args.tokenizer), scenes
