"""What is found at points on things of the test scenes: one point, then corrections.

    python tests/benchmarks/points.py [--tokenizer tiny] [--num-images 60]

Mean IoU with the true mask by number of points, as one JSON object. The first is where a thing
is thickest; each further one is where the largest error is thickest, as SAM's own evaluation does.
"""

from __future__ import annotations

import json

import numpy as np
import unseen_scenes
from scipy import ndimage

from samtok.metrics.segmentation import measure_overlap
from samtok.tokenizer.point_masks import find_mask_at_points

NUM_POINTS = 4


def find_thickest(mask: np.ndarray) -> tuple[float, tuple[int, int]]:
    """How far the innermost pixel is from the edge, and its x and y."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(depth.max()), (int(x), int(y))


def point_at(true: np.ndarray, found: np.ndarray) -> tuple[tuple[int, int], bool]:
    """The next point, and whether it is inside."""
    missed, surplus = find_thickest(true & ~found), find_thickest(found & ~true)
    return (missed[1], True) if missed[0] >= surplus[0] else (surplus[1], False)


def main() -> None:
    tokenizer, scenes = unseen_scenes.load(__doc__)
    iou: list[list[float]] = []
    for scene in scenes:
        embeddings = tokenizer.embed(scene.image)
        for true in (mask for mask in scene.masks if mask.any()):
            points, inside, of_this = [], [], []
            found = np.zeros_like(true)
            for _ in range(NUM_POINTS):
                point, is_inside = point_at(true, found)
                points.append(point)
                inside.append(is_inside)
                found = find_mask_at_points(
                    tokenizer, embeddings, np.array(points), np.array(inside)
                )
                of_this.append(measure_overlap(found, true).iou)
            iou.append(of_this)
    means = np.mean(iou, axis=0).round(3).tolist()
    print(json.dumps({"num_masks": len(iou), "iou_after": dict(enumerate(means, start=1))}))


if __name__ == "__main__":
    main()
