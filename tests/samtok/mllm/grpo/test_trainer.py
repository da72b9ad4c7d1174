"""The step of GRPO against plain passes over every answer and a loss written out by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from samtok.errors import ConfigError
from samtok.grpo.policy_loss import PolicyLossConfig
from samtok.mllm import GenerationConfig
from samtok.mllm.collate import encode_prompt
from samtok.mllm.group_generation import generate_groups
from samtok.mllm.grpo import GrpoConfig, GrpoTrainer, ScoredGroup, make_group_batch
from samtok.mllm.training.base import LearningModel
from samtok.tasks.conversation import Message
from tests.processes import run_together
from tests.samtok.mllm.training.small_sft import build_mllm
from tests.small_mllm import FAMILIES
from tests.weights import find_distance

TEMPERATURE = 0.8
SAMPLING = GenerationConfig(max_new_tokens=6, temperature=TEMPERATURE, constrain_masks=False)
CONFIG = GrpoConfig(num_steps=4, learning_rate=1e-3)
PENALIZED = PolicyLossConfig(kl_weight=0.5, clip_low=0.1, clip_high=0.3, averaging="sequence")


def build_trainer(config=CONFIG, family="qwen3_vl"):
    mllm = build_mllm(family)
    return GrpoTrainer(mllm, config, temperature=TEMPERATURE, device=torch.device("cpu"))


def sample(mllm, num_prompts, group_size=3):
    """Groups about noise, answers of different lengths, advantages at random."""
    random = np.random.default_rng(0)
    prompts = [
        encode_prompt(
            (Message("user", "Segment the red cup." + " And the dog?" * index),),
            random.integers(0, 256, (32, 32 + 8 * index, 3), dtype=np.uint8),
            mllm.processor,
        )
        for index in range(num_prompts)
    ]
    seeds = [[10 * index + each for each in range(group_size)] for index in range(num_prompts)]
    groups = generate_groups(mllm, prompts, seeds, SAMPLING)
    cut = [
        [
            dataclasses.replace(a, token_ids=a.token_ids[:n], logprobs=a.logprobs[:n])
            for n, a in enumerate(group, start=1)
        ]
        for group in groups
    ]
    advantages = torch.from_numpy(random.normal(size=(num_prompts, group_size))).float()
    return [ScoredGroup(*each) for each in zip(prompts, cut, advantages, strict=True)]


def score_by_hand(model, group):
    """Of each answer, by one pass over prompt and answer."""
    scored = []
    for answer in group.answers:
        ids = torch.cat([group.prompt.input_ids, answer.token_ids])
        logits = model(
            input_ids=ids[None],
            attention_mask=torch.ones_like(ids)[None],
            mm_token_type_ids=(ids == model.config.image_token_id).int()[None],
            pixel_values=group.prompt.pixel_values,
            image_grid_thw=group.prompt.image_grid_thw,
        ).logits[0, len(group.prompt) - 1 : -1]
        table = torch.log_softmax(logits / TEMPERATURE, dim=1)
        scored.append(table.gather(1, answer.token_ids[:, None])[:, 0])
    return scored


def step_by_hand(model, groups, config):
    """The updates of one step, one minibatch after the other."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
    )
    with torch.no_grad():
        old = [score_by_hand(model, group) for group in groups]
    size = len(groups) // config.num_minibatches
    for start in range(0, len(groups), size):
        losses = []
        for n in range(start, start + size):
            new = score_by_hand(model, groups[n])
            for p, q, advantage in zip(new, old[n], groups[n].advantages, strict=True):
                ratio = (p - q).exp()
                low, high = 1 - config.loss.clip_low, 1 + config.loss.clip_high
                terms = -torch.minimum(ratio * advantage, ratio.clamp(low, high) * advantage)
                # The reference is the model before the step.
                terms = terms + config.loss.kl_weight * ((q - p).exp() - (q - p) - 1)
                losses.append(terms)
        if config.loss.averaging == "token":
            loss = torch.cat(losses).mean()
        else:
            loss = torch.stack([each.mean() for each in losses]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_of_answers_gives_what_a_row_for_each_would(family):
    trainer = build_trainer(family=family)
    groups = sample(trainer.mllm, 2)
    scored = trainer.score(make_group_batch(groups, trainer.mllm)).logprobs
    with torch.no_grad():
        expected = [row for group in groups for row in score_by_hand(trainer.mllm.model, group)]
    for row, own in zip(scored, expected, strict=True):
        torch.testing.assert_close(row[: len(own)], own, atol=1e-5, rtol=1e-4)
        assert not row[len(own) :].any()


@pytest.mark.parametrize(
    "changes",
    [{}, {"num_minibatches": 2, "loss": PENALIZED}],
    ids=["one_update", "two_updates_with_penalty"],
)
def test_a_step_is_the_one_written_out_by_hand(changes):
    config = dataclasses.replace(CONFIG, **changes)
    trainer, plain, start = build_trainer(config), build_mllm(), build_mllm()
    groups = sample(trainer.mllm, 4)
    figures = trainer.train_step([make_group_batch(groups[n : n + 2], plain) for n in (0, 2)])
    step_by_hand(plain.model, groups, config)
    one, two = trainer.mllm.model.state_dict(), plain.model.state_dict()
    moved = find_distance(one, start.model.state_dict())
    assert moved > 0.01
    assert find_distance(one, two) < 0.01 * moved
    assert figures["num_prompts"] == 4
    assert figures["num_responses"] == 12
    assert figures["num_response_tokens"] == 4 * (1 + 2 + 3)
    assert figures["sampler_drift"] < 1e-4


def test_lanes_do_not_change_the_step():
    one, two = build_trainer(), build_trainer()
    groups = sample(one.mllm, 4)
    together = one.train_step([make_group_batch(groups, one.mllm)])
    apart = two.train_step([make_group_batch(groups[n : n + 2], two.mllm) for n in (0, 2)])
    assert apart == pytest.approx(together, rel=1e-4, abs=1e-6)


def train_share(parallel, rank=0, num_processes=1):
    """Two minibatches of two lanes each, of which every process takes its share."""
    trainer = build_trainer(
        dataclasses.replace(CONFIG, num_minibatches=2, loss=PENALIZED, parallel=parallel)
    )
    groups = sample(build_mllm(), 8)
    lanes = [make_group_batch(groups[n : n + 2], trainer.mllm) for n in range(0, 8, 2)]
    figures = [trainer.train_step(lanes[rank::num_processes]) for _ in range(2)]
    return figures, trainer.weights()


PARALLEL = ("ddp", "fsdp")


def _train_shares(rank, num_processes):
    return {parallel: train_share(parallel, rank, num_processes) for parallel in PARALLEL}


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    """What each of two processes made of it."""
    return run_together(_train_shares, 2, tmp_path_factory.mktemp("shares"))


@pytest.mark.parametrize("parallel", PARALLEL)
def test_two_processes_train_as_one_with_twice_the_lanes(shares, parallel):
    """Weights as the rollouts get them, with a penalty from a reference that is dealt out too."""
    (figures, first), (_, second) = (share[parallel] for share in shares)
    figures_alone, alone = train_share("ddp")
    for one, two in zip(figures_alone, figures, strict=True):
        assert two == pytest.approx(one, rel=2e-3, abs=1e-4)
    assert all(torch.equal(first[key], second[key]) for key in first)
    learned = find_distance(alone, build_trainer().weights())
    assert learned > 0.01
    assert find_distance(alone, first) < 0.01 * learned


def test_what_is_worth_more_becomes_likelier():
    trainer = build_trainer(dataclasses.replace(CONFIG, num_steps=20))
    (group,) = sample(trainer.mllm, 1)
    lanes = [
        make_group_batch([dataclasses.replace(group, advantages=torch.eye(3)[1])], trainer.mllm)
    ]
    before = trainer.score(lanes[0]).logprobs[1].sum()
    for _ in range(10):
        trainer.train_step(lanes)
    assert trainer.score(lanes[0]).logprobs[1].sum() > before + 1


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(CONFIG, lora_rank=2)])
def test_a_sampler_with_the_weights_that_learned_samples_from_the_policy(config):
    trainer = build_trainer(config)
    trainer.train_step([make_group_batch(sample(trainer.mllm, 2), trainer.mllm)])
    sampler = LearningModel(build_mllm(), config, torch.device("cpu"))
    groups = sample(sampler.mllm, 2)
    stale = trainer.train_step([make_group_batch(groups, sampler.mllm)])["sampler_drift"]
    sampler.load_weights(trainer.weights().items())
    fresh = trainer.train_step([make_group_batch(sample(sampler.mllm, 2), sampler.mllm)])
    assert fresh["sampler_drift"] < 1e-4 < 1e-2 < stale


def test_lanes_that_cannot_be_cut_into_minibatches_are_refused():
    trainer = build_trainer(dataclasses.replace(CONFIG, num_minibatches=2))
    with pytest.raises(ValueError, match="1 lanes cannot be cut into 2 minibatches"):
        trainer.train_step([make_group_batch(sample(trainer.mllm, 1), trainer.mllm)])


@pytest.mark.parametrize("changes", [{"num_minibatches": 0}, {"lora_dropout": 0.1}])
def test_bad_settings_are_named(changes):
    (name,) = changes
    with pytest.raises(ConfigError, match=name):
        dataclasses.replace(CONFIG, **changes)
