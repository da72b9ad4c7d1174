"""What is found in boxes around things of the test scenes, beside the boxes and the true masks.

    python tests/benchmarks/boxes.py [--tokenizer tiny] [--num-images 60]

Mean IoU with the true mask, as one JSON object; boxes are also shaken by a normal deviation of 8 %
of their sides, as a hand draws them.
"""

from __future__ import annotations

import json

import numpy as np
import unseen_scenes

from samtok import SAMTok
from samtok.masks import compute_boxes
from samtok.metrics.segmentation import mask_iou
from samtok.tokenizer.box_masks import find_masks_in_boxes

SHAKE = 0.08


def shake(boxes: np.ndarray, height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """The same boxes, drawn by hand."""
    sides = (boxes[:, 2:] - boxes[:, :2] + 1)[:, [0, 1, 0, 1]]
    moved = np.rint(boxes + random.normal(0, SHAKE, boxes.shape) * sides).astype(int)
    low = moved[:, :2].clip(0, [width - 1, height - 1])
    return np.concatenate([low, np.maximum(low, moved[:, 2:]).clip(0, [width - 1, height - 1])], 1)


def fill(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Boxes as masks, bool (N, H, W)."""
    filled = np.zeros((len(boxes), height, width), dtype=bool)
    for row, (x0, y0, x1, y1) in zip(filled, boxes, strict=True):
        row[y0 : y1 + 1, x0 : x1 + 1] = True
    return filled


def main() -> None:
    tokenizer, scenes = unseen_scenes.load(__doc__)
    random = np.random.default_rng(0)
    iou: dict[str, list[float]] = {}
    for scene in scenes:
        masks = np.asarray(scene.masks)
        masks = masks[masks.any(axis=(1, 2))]
        if not len(masks):
            continue
        height, width = masks.shape[1:]
        embeddings = tokenizer.embed(scene.image)
        boxes = compute_boxes(masks).astype(int)
        shaken = shake(boxes, height, width, random)
        found = find_masks_in_boxes(tokenizer, embeddings, boxes)
        for name, made in {
            "box": fill(boxes, height, width),
            "found in box": found,
            "words of what is found": _rebuild(tokenizer, embeddings, found),
            "shaken box": fill(shaken, height, width),
            "found in shaken box": find_masks_in_boxes(tokenizer, embeddings, shaken),
            "words of the true mask": _rebuild(tokenizer, embeddings, masks),
        }.items():
            iou.setdefault(name, []).extend(mask_iou(made, masks).tolist())
    report = {name: round(float(np.mean(values)), 3) for name, values in iou.items()}
    print(json.dumps({"num_masks": len(iou["box"]), **report}, indent=1))


def _rebuild(tokenizer: SAMTok, embeddings, masks: np.ndarray) -> np.ndarray:
    return tokenizer.decode(embeddings, tokenizer.encode(embeddings, masks)).numpy()


if __name__ == "__main__":
    main()
