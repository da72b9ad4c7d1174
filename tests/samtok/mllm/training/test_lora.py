"""Adapters: merged or beside the weights, the model says the same."""

import dataclasses

import pytest
import torch
from transformers import AutoModelForImageTextToText

from samtok.mllm import load_mllm, save_mllm
from samtok.mllm.generation import GenerationConfig, generate
from samtok.mllm.training.lora import merge_adapters, save_adapters
from samtok.mllm.training.objective import AnswerObjective
from tests.samtok.mllm.training.small_sft import batch, build_trainer, run, talk
from tests.samtok.mllm.training.test_trainer import LORA, one_lane

PLAIN_LORA = dataclasses.replace(LORA, lora_dropout=0.0)


def losses_of(mllm):
    with torch.no_grad():
        return AnswerObjective(mllm.model.eval(), torch.float32)(
            batch(mllm, range(5)).inputs
        ).losses


@pytest.fixture
def trainer():
    trainer = build_trainer(PLAIN_LORA)
    run(trainer, one_lane)
    return trainer


def test_merged_and_reloaded_it_has_the_same_losses(trainer, tmp_path):
    trained = losses_of(trainer.mllm)
    merged = dataclasses.replace(trainer.mllm, model=merge_adapters(trainer.adapted))
    assert not any("lora" in name for name, _ in merged.model.named_parameters())
    save_mllm(merged, tmp_path)
    torch.testing.assert_close(losses_of(load_mllm(tmp_path)), trained, rtol=1e-4, atol=1e-5)


def test_adapters_beside_the_weights_are_put_back_by_transformers(trainer, tmp_path):
    trained = losses_of(trainer.mllm)
    bare = save_adapters(trainer.adapted, tmp_path)
    save_mllm(dataclasses.replace(trainer.mllm, model=bare), tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert any("lora" in name for name, _ in model.named_parameters())
    torch.testing.assert_close(losses_of(load_mllm(tmp_path)), trained, rtol=1e-4, atol=1e-5)


def test_merged_and_reloaded_it_writes_the_same_text(tmp_path):
    trainer = build_trainer(dataclasses.replace(PLAIN_LORA, num_steps=40))
    lanes = [batch(trainer.mllm, range(4))]
    for _ in range(40):
        trainer.train_step(lanes)
    examples = [talk(index) for index in range(4)]
    images = [example.image for example in examples]
    questions = [list(example.conversation.messages[:1]) for example in examples]
    greedy = GenerationConfig(max_new_tokens=24, constrain_masks=False)
    written = generate(trainer.mllm, images, questions, greedy)
    assert any("<|mt_" in answer for answer in written)
    save_mllm(dataclasses.replace(trainer.mllm, model=merge_adapters(trainer.adapted)), tmp_path)
    assert generate(load_mllm(tmp_path), images, questions, greedy) == written
