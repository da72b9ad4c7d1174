"""IoU and the gRefCOCO numbers, against the published evaluator's."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from samtok.metrics.segmentation import area_bin, evaluate_gres, mask_iou

FIXTURES = Path(__file__).parents[2] / "fixtures" / "parity"
SETS = json.loads((FIXTURES / "metrics.json").read_text())
MASKS = np.load(FIXTURES / "metrics.npz")

FULL, EMPTY = np.ones((2, 3), dtype=bool), np.zeros((2, 3), dtype=bool)
LEFT = np.array([[1, 0, 0], [1, 0, 0]], dtype=bool)


def load_set(name):
    numbers = range(SETS[name]["n"])
    return [[MASKS[f"{name}.{n}.{kind}"] for n in numbers] for kind in ("pred", "gt")]


def test_iou_is_the_shared_part_of_the_union():
    # 2 of 6 pixels; nothing in common; the same; both empty.
    iou = mask_iou(np.stack([LEFT, LEFT, FULL, EMPTY]), np.stack([FULL, EMPTY, FULL, EMPTY]))
    assert iou.dtype == np.float32
    assert iou == pytest.approx([1 / 3, 0, 1, 1])


def test_no_masks_have_no_iou():
    assert mask_iou(np.zeros((0, 2, 3), bool), np.zeros((0, 2, 3), bool)).shape == (0,)


@pytest.mark.parametrize("other", [FULL[None], FULL, np.ones((2, 3, 2), bool)])
def test_iou_of_other_shapes_is_refused(other):
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        mask_iou(np.stack([LEFT, LEFT]), other)


@pytest.mark.parametrize(
    ("area", "name"),
    [(1, "small"), (1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")],
)
def test_size_bins_are_those_of_coco(area, name):
    assert area_bin(area) == name


@pytest.mark.parametrize("name", [name for name, numbers in SETS.items() if numbers["exact"]])
def test_scores_equal_the_published_evaluator(name):
    expected = SETS[name]
    scores = evaluate_gres(*load_set(name))
    found = {
        "N_acc": scores.n_acc,
        "T_acc": scores.t_acc,
        "g_iou": scores.g_iou,
        "c_iou": scores.c_iou,
    }
    for key, share in found.items():
        assert 100 * share == pytest.approx(expected["exact"][key], rel=1e-14, abs=0)
        assert round(100 * share, 2) == expected["rounded"][key]
    assert scores.num_skipped == expected["skipped"]


def test_samples_of_one_kind_leave_the_other_accuracy_undefined():
    with_targets = evaluate_gres(*load_set("targets_only"))
    assert math.isnan(with_targets.n_acc)
    assert with_targets.t_acc == 1
    pairs = SETS["targets_only"]["per_pair"]
    terms = [pair["inter"] / pair["union"] for pair in pairs]
    assert with_targets.g_iou == pytest.approx(sum(terms) / len(terms))
    without = evaluate_gres(*load_set("no_targets_bad_only"))
    assert math.isnan(without.t_acc)
    assert (without.n_acc, without.g_iou, without.c_iou) == (0, 0, 0)


def test_no_samples_have_no_scores():
    scores = evaluate_gres([], [])
    assert math.isnan(scores.g_iou)
    assert math.isnan(scores.n_acc)


def test_every_sample_needs_a_prediction():
    with pytest.raises(ValueError, match="longer"):
        evaluate_gres([FULL], [FULL, FULL])
