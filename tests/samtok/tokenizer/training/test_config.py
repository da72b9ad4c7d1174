"""Settings and schedules of a training."""

import pytest

from samtok.errors import ConfigError
from samtok.tokenizer.training import TokenizerTrainingConfig, learning_rate_at
from samtok.tokenizer.training.config import foreground_weight_at


def test_learning_rate_schedule():
    """100 steps, 10 of warm-up: rises to the peak, half of it in mid-cosine, falls to about 0."""
    config = TokenizerTrainingConfig(num_steps=110, learning_rate=1.0, warmup_share=1 / 11)
    rates = [learning_rate_at(step, config) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.5)
    assert rates[-1] < 0.001


def test_each_phase_has_its_own_schedule():
    config = TokenizerTrainingConfig(
        num_steps=200,
        quantize_from_step=100,
        learning_rate=1.0,
        quantized_learning_rate=0.5,
        warmup_share=0.1,
    )
    rates = [learning_rate_at(step, config) for step in range(200)]
    assert max(rates[:100]) == rates[9] == 1.0
    assert rates[99] < 0.001
    assert max(rates[100:]) == rates[109] == 0.5


def test_foreground_weight_falls_to_one_in_the_first_tenth():
    config = TokenizerTrainingConfig(num_steps=200, quantize_from_step=100, foreground_weight=3.0)
    weights = [foreground_weight_at(step, config) for step in (0, 5, 10, 150)]
    assert weights == pytest.approx([3.0, 2.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 10, "quantize_from_step": 10}, "quantize_from_step is 10"),
        ({"num_steps": 10, "full_size_from_step": 10}, "0 <= full_size_from_step < num_steps"),
        ({"warmup_share": 1.0}, "warmup_share is 1.0"),
        ({"box_point_share": 1.5}, "box_point_share is 1.5"),
        ({"mask_jitter": -0.1}, "mask_jitter is -0.1; allowed is 0 to 1"),
        ({"consistency_weight": -1.0}, "consistency_weight is -1.0; at least 0"),
        ({"num_points": 0}, "num_points is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        TokenizerTrainingConfig(**settings)
