"""How well two words rebuild a mask, on the test scenes, beside boxes and polygons.

    python tests/benchmarks/reconstruction.py [--tokenizer tiny] [--num-images 300]

For every mask of the test split: encode, decode at full image size, IoU. The same with the first
code alone, with the mask's box, and with a polygon of 8 vertices cut from its outline (16 numbers
against two words). Prints one JSON object: means over all masks, by COCO area bin, by finer bins,
and of the thin, part and occluded ones; codebook use; collisions.
"""

from __future__ import annotations

import argparse
import itertools
import json

import numpy as np

from samtok import SAMTok
from samtok.metrics.baselines import box_reconstruction, polygon_reconstruction
from samtok.metrics.codebook import codebook_usage, count_collisions
from samtok.metrics.reconstruction import first_code_iou, reconstruct
from samtok.metrics.segmentation import area_bin, mask_iou
from samtok.scenes import generate_scene

FINE_BINS = (0, 64, 128, 256, 512, 1024, 4096, 16384)
WAYS = ("two_words", "first_word", "box", "polygon_8")


def measure_scene(tokenizer: SAMTok, scene) -> dict[str, np.ndarray]:
    """Overlaps and kinds of the masks of one scene."""
    embeddings = tokenizer.embed(scene.image)
    rebuilt = reconstruct(tokenizer, embeddings, scene.masks)
    boxes = np.stack([box_reconstruction(mask) for mask in scene.masks])
    polygons = np.stack([polygon_reconstruction(mask, 8) for mask in scene.masks])
    return {
        "two_words": rebuilt.iou,
        "first_word": first_code_iou(tokenizer, embeddings, rebuilt.codes, scene.masks),
        "box": mask_iou(boxes, scene.masks),
        "polygon_8": mask_iou(polygons, scene.masks),
        "codes": rebuilt.codes,
        "collides": count_collisions(rebuilt.codes),
        "area": np.array([item.area for item in scene.objects]),
        "thin": np.array([item.is_thin for item in scene.objects]),
        "part": np.array([item.part_of is not None for item in scene.objects]),
        "occluded": np.array([item.visible_share < 0.9 for item in scene.objects]),
    }


def summarize(measured: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, float]:
    """Mean overlap of each way over the chosen masks."""
    if not chosen.any():
        return {"masks": 0}
    means = {way: round(float(measured[way][chosen].mean()), 4) for way in WAYS}
    return {"masks": int(chosen.sum()), **means}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", default="tiny")
    parser.add_argument("--num-images", type=int, default=300)
    args = parser.parse_args()
    tokenizer = SAMTok.from_pretrained(args.tokenizer)
    scenes = (generate_scene(i, split="test") for i in range(args.num_images))
    parts = [measure_scene(tokenizer, scene) for scene in scenes if len(scene.masks)]
    measured = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    area = measured["area"]
    bins = np.array([area_bin(a) for a in area])
    usage = codebook_usage(measured["codes"])
    report = {
        "tokenizer": args.tokenizer,
        "all": summarize(measured, np.ones(len(area), dtype=bool)),
        **{name: summarize(measured, bins == name) for name in ("small", "medium", "large")},
        **{
            f"area_{low}_to_{high}": summarize(measured, (area >= low) & (area < high))
            for low, high in itertools.pairwise(FINE_BINS)
        },
        **{kind: summarize(measured, measured[kind]) for kind in ("thin", "part", "occluded")},
        "codes_in_use": usage.codes_in_use,
        "perplexity": [round(p, 1) for p in usage.perplexity],
        "masks_that_collide": int(measured["collides"].sum()),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
