"""Grounded conversations: AP against pycocotools, pairing and recall by hand."""

import contextlib
import io
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from samtok.metrics.grounding import GroundingTally, mean_paired_iou, word_similarity
from samtok.metrics.segmentation import pairwise_iou

from samtok.masks import encode_rle  # isort: skip


def random_masks(rng, count):
    masks = np.zeros((count, 12, 12), dtype=bool)
    for mask in masks:
        y, x = rng.integers(0, 7, 2)
        mask[y : y + rng.integers(3, 7), x : x + rng.integers(3, 7)] = True
    return masks


def ap50_of_coco(images):
    """As the published evaluator asks pycocotools for it: one category, every score 1."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i, "height": 12, "width": 12} for i in range(len(images))],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [],
    }
    detections = []
    for image_id, (predicted, true) in enumerate(images):
        for mask in true:
            rle = encode_rle(mask)
            coco.dataset["annotations"].append(
                {
                    "id": len(coco.dataset["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "segmentation": rle,
                    "area": int(mask.sum()),
                    "bbox": [0, 0, 1, 1],
                    "iscrowd": 0,
                }
            )
        detections += [
            {"image_id": image_id, "category_id": 1, "segmentation": encode_rle(m), "score": 1.0}
            for m in predicted
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[1]


@pytest.mark.parametrize("seed", range(5))
def test_ap50_equals_coco(seed):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(8):
        true = random_masks(rng, rng.integers(0, 5))
        kept = true[rng.random(len(true)) < 0.7]
        predicted = np.concatenate([kept, random_masks(rng, rng.integers(0, 4))])
        images.append((rng.permutation(predicted), true))
    tally = GroundingTally()
    for predicted, true in images:
        ious = pairwise_iou(predicted, true)
        tally.add(ious, ["a"] * len(predicted), ["a"] * len(true))
    ours = tally.scores().ap50
    assert 0.1 < ours < 1
    assert ours == pytest.approx(ap50_of_coco(images), abs=1e-12)


def test_detections_beyond_a_hundred_do_not_count():
    ious = np.zeros((101, 1))
    ious[100, 0] = 1
    tally = GroundingTally()
    tally.add(ious, ["a"] * 101, ["a"])
    assert tally.scores().ap50 == 0


def test_masks_are_paired_best_first_and_the_rest_is_left_out():
    # 0.9 goes first; then of its row and column only (1, 1) = 0.3 is left.
    assert mean_paired_iou(np.array([[0.9, 0.8], [0.7, 0.3]])) == pytest.approx(0.6)
    # A second prediction has nothing left to pair with.
    assert mean_paired_iou(np.array([[0.5], [0.4]])) == 0.5
    assert mean_paired_iou(np.zeros((2, 2))) == 0
    assert mean_paired_iou(np.zeros((0, 2))) == 0


def test_mean_iou_is_over_images():
    tally = GroundingTally()
    tally.add(np.array([[0.8]]), ["cup"], ["cup"])
    tally.add(np.zeros((0, 3)), [], ["cup", "tea", "pot"])
    scores = tally.scores()
    assert scores.mean_iou == pytest.approx(0.4)
    assert scores.recall == 1 / 4
    assert (scores.num_images, scores.num_phrases) == (2, 4)


def test_recall_needs_mask_and_phrase():
    tally = GroundingTally()
    ious = np.array([[0.9, 0.0], [0.0, 0.49]])
    tally.add(ious, ["a red cup", "the table"], ["the cup", "table"])
    # cup: IoU 0.9, words {red, cup} and {cup}: 1/sqrt(2) = 0.71. table: IoU below 0.5.
    assert tally.scores().recall == 1 / 2


def test_recall_stops_at_the_first_pair_that_fails_as_published():
    tally = GroundingTally()
    tally.add(np.array([[0.9, 0.0], [0.0, 0.8]]), ["dog", "cup"], ["cat", "cup"])
    assert tally.scores().recall == 0


def test_similarity_may_be_another():
    tally = GroundingTally()
    tally.add(np.array([[0.9]]), ["sofa"], ["couch"], similarity=lambda a, b: 0.5)
    assert tally.scores().recall == 1


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ("The cup.", "a cup", 1),
        ("red cup", "blue cup", 1 / 2),
        ("cup", "table", 0),
        ("", "cup", 0),
        ("cup cup", "cup", 1),
    ],
)
def test_similarity_of_words(first, second, value):
    assert word_similarity(first, second) == pytest.approx(value)


def test_without_images_nothing_is_scored():
    scores = GroundingTally().scores()
    assert math.isnan(scores.mean_iou)
    assert math.isnan(scores.ap50)
    assert math.isnan(scores.recall)


def test_ious_must_fit_the_phrases():
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        GroundingTally().add(np.zeros((1, 2)), ["a"], ["b"])
