"""The learning rate over a training."""

import pytest

from samtok.training.schedule import warm_up_then_cosine


def test_rises_to_the_peak_and_falls_to_about_zero():
    """110 steps, 10 of warm-up; half of the peak in mid-cosine."""
    shares = [warm_up_then_cosine(step, 110, 1 / 11) for step in range(110)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == 1.0
    assert shares[60] == pytest.approx(0.5)
    assert shares[-1] < 0.001


def test_without_warm_up_the_first_step_is_at_the_peak():
    assert warm_up_then_cosine(0, 10, 0.0) == 1.0
