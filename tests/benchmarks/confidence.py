"""Whether a confidence ranks masks: ours, and the decoder's own estimate of IoU.

    python tests/benchmarks/confidence.py [--tokenizer tiny] [--num-images 60]

Masks of test scenes are decoded from their words, and once more with a wrong second word. Prints
the rank correlation (Spearman) of each confidence with the true IoU, as one JSON object.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from scipy.stats import spearmanr

from samtok import SAMTok
from samtok.metrics.segmentation import mask_iou
from samtok.scenes import generate_scene


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", default="tiny")
    parser.add_argument("--num-images", type=int, default=60)
    args = parser.parse_args()
    tokenizer = SAMTok.from_pretrained(args.tokenizer)
    random = np.random.default_rng(0)
    true: list[float] = []
    found: dict[str, list[float]] = {"confidence": [], "decoder's estimate": []}
    for index in range(args.num_images):
        scene = generate_scene(index, split="test")
        masks = np.asarray(scene.masks)
        if not len(masks):
            continue
        embeddings = tokenizer.embed(scene.image)
        codes = tokenizer.encode(embeddings, masks).numpy()
        wrong = codes.copy()
        wrong[:, 1] = (wrong[:, 1] + random.integers(1, 256, len(wrong))) % 256
        for pairs in (codes, wrong):
            decoded, confidence = tokenizer.decode_with_confidence(embeddings, pairs)
            true += mask_iou(decoded.numpy(), masks).tolist()
            found["confidence"] += confidence.tolist()
            for chunk in tokenizer.decode_logits(embeddings, pairs):
                found["decoder's estimate"] += chunk.predicted_iou.max(1).values.tolist()
    report = {name: round(float(spearmanr(values, true)[0]), 3) for name, values in found.items()}
    print(
        json.dumps({"num_masks": len(true), "mean_iou": round(float(np.mean(true)), 3), **report})
    )


if __name__ == "__main__":
    main()
