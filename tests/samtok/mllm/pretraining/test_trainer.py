"""Steps of the pretraining on the tiny model itself."""

import dataclasses

import pytest
import torch

from samtok.errors import ConfigError
from samtok.mllm.pretraining.batches import PretrainingBatches
from samtok.mllm.pretraining.config import PretrainingConfig
from samtok.mllm.pretraining.trainer import PretrainingTrainer
from samtok.mllm.tiny import build_tiny_mllm

CONFIG = PretrainingConfig(
    num_steps=4, vision_steps=2, images_per_lane=2, num_lanes=2, num_lessons=2
)


@pytest.fixture(scope="module")
def batches():
    return PretrainingBatches(build_tiny_mllm().processor, CONFIG)


def start():
    return PretrainingTrainer(build_tiny_mllm(), CONFIG, device=torch.device("cpu"))


def step(trainer, batches):
    first = trainer.step * CONFIG.num_lanes
    return trainer.train_step([batches[first], batches[first + 1]])


def test_vision_learns_first_and_text_after_it(batches):
    trainer = start()
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    assert "text" not in step(trainer, batches)
    changed = {n for n, w in trainer.model.state_dict().items() if not torch.equal(w, before[n])}
    assert changed
    assert all("visual" in name for name in changed)
    step(trainer, batches)
    assert step(trainer, batches)["text"] > 0
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(trainer.model.state_dict()[name], before[name])


def test_the_heads_can_learn_before_the_tower(batches):
    config = dataclasses.replace(CONFIG, head_steps=1)
    trainer = PretrainingTrainer(build_tiny_mllm(), config, device=torch.device("cpu"))
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    head = trainer.head.linear.weight.detach().clone()
    step(trainer, batches)
    assert not torch.equal(trainer.head.linear.weight, head)
    assert all(torch.equal(w, before[n]) for n, w in trainer.model.state_dict().items())
    step(trainer, batches)
    assert any(not torch.equal(w, before[n]) for n, w in trainer.model.state_dict().items())


def test_resumed_it_goes_on_as_if_never_stopped(batches):
    whole, first = start(), start()
    for _ in range(4):
        step(whole, batches)
    for _ in range(2):
        step(first, batches)
    second = start()
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        step(second, batches)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], weight, rtol=0, atol=0)


def test_batches_are_a_function_of_their_number(batches):
    again = PretrainingBatches(build_tiny_mllm().processor, CONFIG)[5]
    assert torch.equal(again.inputs["input_ids"], batches[5].inputs["input_ids"])
    assert not torch.equal(batches[4].targets.color, batches[5].targets.color)


def test_conversations_are_cut_off_at_the_limit(batches):
    config = dataclasses.replace(CONFIG, max_tokens=80)
    cut = PretrainingBatches(build_tiny_mllm().processor, config)[5].inputs
    for name in ("input_ids", "labels", "position_ids"):
        assert torch.equal(cut[name], batches[5].inputs[name][..., :80])


def test_bfloat16_gives_nearly_the_same_loss(batches):
    losses = []
    for dtype in ("float32", "bfloat16"):
        config = dataclasses.replace(CONFIG, vision_steps=0, dtype=dtype)
        trainer = PretrainingTrainer(build_tiny_mllm(), config, device=torch.device("cpu"))
        losses.append(trainer.train_step([batches[4]])["text"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_it_must_talk_in_the_end():
    with pytest.raises(ConfigError, match="vision_steps is 10 and num_steps 10"):
        PretrainingConfig(num_steps=10, vision_steps=10)
