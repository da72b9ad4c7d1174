"""The step: learns, repeats, resumes, and does not care how many processes share it."""

import dataclasses
import io

import numpy as np
import pytest
import torch

from samtok.errors import CheckpointError
from samtok.mllm import mask_token_ids
from samtok.mllm.training import SftConfig
from samtok.mllm.training.parts import split_parts
from tests.processes import run_together
from tests.samtok.mllm.training.small_sft import (
    CONFIG,
    batch,
    build_mllm,
    build_trainer,
    run,
    weights,
)
from tests.small_mllm import FAMILIES
from tests.weights import find_distance

LORA = SftConfig(num_steps=6, learning_rate=1e-2, lora_rank=2, lora_dropout=0.5)


def one_lane(step):
    return [range(4 * step, 4 * step + 4)]


def test_loss_falls_on_one_batch():
    trainer = build_trainer(dataclasses.replace(CONFIG, num_steps=60))
    lanes = [batch(trainer.mllm, range(4))]
    losses = [trainer.train_step(lanes)["loss"] for _ in range(60)]
    assert np.mean(losses[-3:]) < 0.5 * losses[0]


def test_loss_is_the_mean_over_answer_tokens_of_all_lanes():
    """Lanes of one and of five conversations: neither a mean of means nor of conversations."""
    trainer = build_trainer()
    figures = trainer.train_step([batch(trainer.mllm, [0]), batch(trainer.mllm, range(1, 6))])
    whole = build_trainer()
    joined = whole.train_step([batch(whole.mllm, range(6))])
    assert figures == pytest.approx(joined, rel=1e-5)
    assert figures["num_conversations"] == 6
    assert figures["num_answer_tokens"] < figures["num_tokens"]


def test_the_loss_of_code_words_is_told_apart():
    trainer = build_trainer()
    lanes = [batch(trainer.mllm, indexes) for indexes in ([0], range(1, 4))]
    of_words = []
    for lane in lanes:
        labels = lane.inputs["labels"][:, 1:]
        said = trainer.mllm.tokenizer.convert_ids_to_tokens(labels[labels >= 0].tolist())
        losses = trainer.measure(lane).losses.tolist()
        of_words += [
            loss for loss, word in zip(losses, said, strict=True) if word.startswith("<|mt_0")
        ]
    figures = trainer.train_step(lanes)
    assert figures["word_loss"] == pytest.approx(np.mean(of_words), rel=1e-5)
    assert 0 < len(of_words) < figures["num_answer_tokens"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("config", [CONFIG, LORA], ids=["full", "lora"])
def test_resumed_run_ends_as_an_uninterrupted_one(config, optimizer):
    config = dataclasses.replace(config, optimizer=optimizer)
    whole = build_trainer(config)
    run(whole, one_lane)

    killed = build_trainer(config)
    for step in range(3):
        killed.train_step([batch(killed.mllm, indexes) for indexes in one_lane(step)])
    file = io.BytesIO()
    torch.save(killed.state_dict(), file)
    file.seek(0)
    torch.manual_seed(12345)
    resumed = build_trainer(config)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    run(resumed, one_lane, first=resumed.step)
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[key]), key


def test_state_of_other_parts_is_refused():
    state = build_trainer().state_dict()
    with pytest.raises(CheckpointError, match="other parts learning"):
        build_trainer(dataclasses.replace(CONFIG, freeze_vision=True)).load_state_dict(state)


def changed_parts(config, family):
    """Parts of which some weight changes in two steps, by identity of the weights."""
    trainer = build_trainer(config, build_mllm(family))
    parts = split_parts(trainer.mllm.model)
    before = {p: p.detach().clone() for p in trainer.mllm.model.parameters()}
    for step in range(2):
        trainer.train_step([batch(trainer.mllm, indexes) for indexes in one_lane(step)])
    return {
        part
        for part, modules in parts.items()
        for module in modules
        for weight in module.parameters()
        if not torch.equal(weight, before[weight])
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_parts_stay_and_the_others_change(family):
    everything = {"vision", "projector", "llm", "tables"}
    assert changed_parts(CONFIG, family) == everything
    for part in ("vision", "projector", "llm"):
        frozen = dataclasses.replace(CONFIG, **{f"freeze_{part}": True})
        assert changed_parts(frozen, family) == everything - {part}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("config", [CONFIG, LORA], ids=["full", "lora"])
def test_every_weight_said_to_learn_gets_a_gradient(family, config):
    """Data-parallel training would wait for ever for one that does not."""
    trainer = build_trainer(config, build_mllm(family))
    trainer._parallel(batch(trainer.mllm, range(4)).inputs).losses.sum().backward()
    named = trainer.mllm.model.named_parameters()
    assert [name for name, p in named if p.requires_grad and p.grad is None] == []


def test_adapters_and_tables_alone_learn_with_lora():
    trainer = build_trainer(dataclasses.replace(LORA, freeze_vision=True))
    learning = {n for n, p in trainer.mllm.model.named_parameters() if p.requires_grad}
    adapters = {name for name in learning if ".lora_" in name}
    assert any(".language_model.layers.0.mlp.up_proj.lora_A" in name for name in adapters)
    assert any(".visual.merger." in name for name in adapters)
    assert not any(".visual.blocks." in name for name in adapters)
    assert learning - adapters == {"model.language_model.embed_tokens.weight"}


def test_checkpointed_gradients_are_the_same():
    plain = build_trainer()
    saving = build_trainer(dataclasses.replace(CONFIG, gradient_checkpointing=True))
    run(plain, one_lane)
    run(saving, one_lane)
    for key, value in weights(plain).items():
        torch.testing.assert_close(weights(saving)[key], value, rtol=1e-4, atol=1e-6, msg=key)


def test_new_rows_go_farther_at_their_own_rate():
    """The first step: all rows start alike, so a rate of 3 moves the new ones 3 times as far."""
    steps = {}
    for rate in (1.0, 3.0):
        trainer = build_trainer(dataclasses.replace(CONFIG, new_row_rate=rate))
        table = trainer.mllm.model.get_input_embeddings().weight
        before = table.detach().clone()
        trainer.train_step([batch(trainer.mllm, range(4))])
        steps[rate] = table.detach() - before
    ids = mask_token_ids(build_mllm().tokenizer)
    is_new = torch.zeros(len(steps[1.0]), dtype=torch.bool)
    is_new[[ids.start, ids.end, *ids.book_0.tolist(), *ids.book_1.tolist()]] = True
    assert steps[1.0][is_new].any()
    torch.testing.assert_close(steps[3.0][is_new], 3 * steps[1.0][is_new], rtol=1e-3, atol=1e-7)
    assert torch.equal(steps[3.0][~is_new], steps[1.0][~is_new])


def four_lanes(step):
    """Lanes of different sizes, so that weighting by answer tokens matters."""
    return [range(20 * step + 5 * lane, 20 * step + 5 * lane + 1 + lane) for lane in range(4)]


SHARED = {
    "full-muon": dataclasses.replace(CONFIG, num_steps=4, learning_rate=1e-3, optimizer="muon"),
    "lora": dataclasses.replace(LORA, num_steps=4),
    "fsdp": dataclasses.replace(CONFIG, num_steps=4, learning_rate=1e-3, parallel="fsdp"),
    "fsdp-lora-muon": dataclasses.replace(LORA, num_steps=4, parallel="fsdp", optimizer="muon"),
}


def _train_shares(rank, num_processes):
    return {name: _train_share(rank, num_processes, name) for name in SHARED}


def _train_share(rank, num_processes, name):
    share = 4 // num_processes
    lanes = slice(rank * share, (rank + 1) * share)
    figures, state, config = [], None, SHARED[name]
    if num_processes == 1:
        config = dataclasses.replace(config, parallel="ddp")
    for first in range(2):  # a new trainer goes on after the first step
        trainer = build_trainer(config)
        if state:
            trainer.load_state_dict(state)
        last = trainer.config.num_steps if first else 1
        for step in range(first, last):
            batches = [batch(trainer.mllm, indexes) for indexes in four_lanes(step)[lanes]]
            figures.append(trainer.train_step(batches))
        state = trainer.state_dict()
    return figures, state["weights"]


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    """What one process and two made of all settings, by number of processes."""
    folder = tmp_path_factory.mktemp("shares")
    return {number: run_together(_train_shares, number, folder) for number in (1, 2)}


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_train_as_one_with_twice_the_lanes(shares, name):
    """Losses and weights, dropout and a resumption included; DDP and FSDP2."""
    alone, first, second = (share[name] for share in shares[1] + shares[2])
    for figures_alone, figures_shared in zip(alone[0], first[0], strict=True):
        assert figures_shared == pytest.approx(figures_alone, rel=2e-4, abs=1e-5)
    assert all(torch.equal(first[1][key], second[1][key]) for key in first[1])
    # Rounding turns the sign of AdamW's step where a gradient is about 0, hence norms.
    start = build_trainer(dataclasses.replace(SHARED[name], parallel="ddp")).state_dict()["weights"]
    learned = find_distance(start, alone[1])
    assert learned > 0.01
    assert find_distance(alone[1], first[1], start) < 0.01 * learned
