"""How well two words rebuild a mask, on the test scenes, beside other short descriptions.

    python tests/benchmarks/reconstruction.py [--tokenizer tiny] [--num-images 300] [--stability]

The report of `samtok.metrics.tokenizer_report`, with the thin, part and occluded masks of the
scenes as groups of their own, as one JSON object. `jobs/evaluate_tokenizer.py --source scenes`
measures the same on a cluster and draws pictures, without these groups.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from samtok import SAMTok
from samtok.metrics.image_measures import MeasureConfig, measure_image
from samtok.metrics.tokenizer_report import TokenizerTally
from samtok.scenes import generate_scene


def find_groups(scene) -> dict[str, np.ndarray]:
    """Kinds of objects that scenes know of, and corpora do not."""
    return {
        "thin": np.array([item.is_thin for item in scene.objects]),
        "part": np.array([item.part_of is not None for item in scene.objects]),
        "occluded": np.array([item.visible_share < 0.9 for item in scene.objects]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", default="tiny")
    parser.add_argument("--num-images", type=int, default=300)
    parser.add_argument("--stability", action="store_true")
    args = parser.parse_args()
    tokenizer = SAMTok.from_pretrained(args.tokenizer)
    config = MeasureConfig(stability=args.stability)
    tally = TokenizerTally(codebook_size=tokenizer.config.codebook_size)
    for index in range(args.num_images):
        scene = generate_scene(index, split="test")
        if len(scene.masks):
            found = measure_image(
                tokenizer, scene.image, scene.masks, config=config, seed=[0, index]
            )
            tally.add(found, [item.category for item in scene.objects], find_groups(scene))
    report = {"tokenizer": args.tokenizer, **tally.report().to_json()}
    for book in report["books"]:
        del book["histogram"]
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
