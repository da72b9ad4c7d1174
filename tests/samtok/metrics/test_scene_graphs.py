"""Triplet recall, by hand."""

import math

import numpy as np
import pytest

from samtok.metrics.scene_graphs import TripletTally

ON, BESIDE, WRONG = ("cup", "on", "table"), ("cup", "beside", "pot"), ("cup", "under", "table")
ALL = np.ones((2, 2))


def test_labels_and_both_masks_must_be_right():
    tally = TripletTally()
    targets = [ON, BESIDE]
    tally.add([ON, BESIDE], targets, np.diag([0.5, 0.5]), np.diag([0.5, 0.49]))  # 1/2
    tally.add([ON, WRONG], targets, ALL, ALL)  # 1/2
    tally.add([BESIDE, ON], targets, ALL, ALL)  # 2/2: order does not matter
    tally.add([], targets, np.zeros((0, 2)), np.zeros((0, 2)))  # 0/2
    scores = tally.scores()
    assert scores.recall == pytest.approx((1 / 2 + 1 / 2 + 1 + 0) / 4)
    # on: 1, 1, 1, 0; beside: 0, 0, 1, 0.
    assert scores.mean_recall == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert (scores.num_images, scores.num_triplets) == (4, 8)


def test_recall_is_taken_image_by_image():
    tally = TripletTally()
    tally.add([ON], [ON], np.ones((1, 1)), np.ones((1, 1)))
    three = [ON, BESIDE, WRONG]
    tally.add([], three, np.zeros((0, 3)), np.zeros((0, 3)))
    assert tally.scores().recall == 1 / 2


def test_only_the_first_predictions_count():
    tally = TripletTally(top_k=2)
    tally.add([WRONG, WRONG, ON], [ON], np.ones((3, 1)), np.ones((3, 1)))
    assert tally.scores().recall == 0


def test_an_image_without_triplets_does_not_count():
    tally = TripletTally()
    tally.add([ON], [], np.zeros((1, 0)), np.zeros((1, 0)))
    assert tally.scores().num_images == 0
    assert math.isnan(tally.scores().recall)
    assert math.isnan(tally.scores().mean_recall)


def test_ious_must_fit_the_triplets():
    with pytest.raises(ValueError, match=r"\(1, 1\)"):
        TripletTally().add([ON], [ON], np.zeros((1, 2)), np.zeros((1, 1)))
