"""Whether a confidence ranks masks: ours, and the decoder's own estimate of IoU.

    python tests/benchmarks/confidence.py [--tokenizer tiny] [--num-images 60]

Masks of test scenes are decoded from their words, and once more with a wrong second word. Prints
the rank correlation (Spearman) of each confidence with the true IoU, as one JSON object.
"""

from __future__ import annotations

import json

import numpy as np
import unseen_scenes
from scipy.stats import spearmanr

from samtok.metrics.segmentation import mask_iou


def main() -> None:
    tokenizer, scenes = unseen_scenes.load(__doc__)
    random = np.random.default_rng(0)
    true: list[float] = []
    found: dict[str, list[float]] = {"confidence": [], "decoder's estimate": []}
    for scene in scenes:
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
