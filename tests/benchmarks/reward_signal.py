"""How much each reward tells a model: do the gradients of independent batches of answers agree?

A model answers batches of prompts, groups of samples each. The same answers are judged by each
reward, and each gives a gradient (advantages centred in the group, not divided by its deviation).
Gradients of batches that share no prompt agree, as the mean cosine of all pairs, by as much as the
reward teaches something that holds for other prompts too; near 0 it is noise. Beside all prompts,
those alone for which there is something to segment, as refusals are easy to learn.

    python tests/benchmarks/reward_signal.py --model tiny-chat --conversations out/dialogues

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector

from pipelines.grpo.rollout_actor import load_similarity, seed_of_answer
from pipelines.image_decoding import open_row_image
from pipelines.training.conversations import open_training_conversations, read_conversation
from samtok.grpo.advantages import compute_group_advantages
from samtok.grpo.policy_loss import PolicyLossConfig, policy_loss
from samtok.mllm import load_extended
from samtok.mllm.collate import encode_prompt
from samtok.mllm.generation import GenerationConfig, decode_answer
from samtok.mllm.group_generation import generate_groups
from samtok.mllm.grpo import GrpoConfig, ScoredGroup, make_group_batch
from samtok.mllm.grpo.objective import PolicyObjective
from samtok.mllm.training.parts import choose_trainable
from samtok.rewards import Composition, RewardConfig
from samtok.tokenizer import SAMTok

REWARDS = {
    "answer_matching": RewardConfig(weights=("answer_matching=1",)),
    "graded_matching": RewardConfig(weights=("graded_matching=1",)),
    "soft_matching by codebook": RewardConfig(weights=("soft_matching=1",)),
    "soft_matching by expected_iou": RewardConfig(
        weights=("soft_matching=1",), similarity="expected_iou"
    ),
}
LANE = 8
CALL = 32


class Learner:
    """A model that answers, and what its answers would teach it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.mllm = load_extended(args.model, "cpu", dtype="auto", seed=0)
        model = self.mllm.model
        choose_trainable(model, GrpoConfig(freeze_vision=True, freeze_projector=True))
        model.set_attn_implementation("sdpa")
        self._objective = PolicyObjective(model, torch.float32, args.temperature)
        self._group = args.group
        self._sampling = GenerationConfig(
            max_new_tokens=args.length, temperature=args.temperature, constrain_masks=False
        )
        self._parameters = [each for each in model.parameters() if each.requires_grad]

    def answer(self, rows: Sequence[Mapping[str, Any]], first: int) -> list[ScoredGroup]:
        """Groups of answers, without advantages yet; `first` is the number of the first row."""
        groups = []
        for start in range(0, len(rows), CALL):
            prompts = [
                encode_prompt(
                    read_conversation(row, 256).messages[:-1],
                    open_row_image(row),
                    self.mllm.processor,
                )
                for row in rows[start : start + CALL]
            ]
            numbers = range(first + start, first + start + len(prompts))
            seeds = [[seed_of_answer(0, n, each) for each in range(self._group)] for n in numbers]
            answers = generate_groups(self.mllm, prompts, seeds, self._sampling)
            groups += [
                ScoredGroup(prompt, group, torch.zeros(self._group))
                for prompt, group in zip(prompts, answers, strict=True)
            ]
        return groups

    def differentiate(
        self, groups: Sequence[ScoredGroup], advantages: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """The gradient of all weights that learn, flat."""
        scored = [
            ScoredGroup(group.prompt, group.answers, each)
            for group, each in zip(groups, advantages, strict=True)
            if each.any()
        ]
        num_tokens = sum(len(answer.token_ids) for group in groups for answer in group.answers)
        self.mllm.model.train()
        total = torch.zeros(sum(each.numel() for each in self._parameters))
        for start in range(0, len(scored), LANE):
            batch = make_group_batch(scored[start : start + LANE], self.mllm)
            logprobs = self._objective(batch).logprobs
            loss = policy_loss(
                logprobs,
                logprobs.detach(),
                batch.advantages,
                batch.mask,
                PolicyLossConfig(),
                divisor=num_tokens,
            ).loss
            total += parameters_to_vector(
                torch.autograd.grad(loss, self._parameters, materialize_grads=True)
            )
        return total


def judge(
    learner: Learner, groups: Sequence[ScoredGroup], targets: Sequence[str], judges: Composition
) -> torch.Tensor:
    """Rewards, shape (B, G)."""
    return torch.tensor(
        [
            [
                judges(decode_answer(learner.mllm.tokenizer, each.token_ids), target, task="").total
                for each in group.answers
            ]
            for group, target in zip(groups, targets, strict=True)
        ]
    )


def agreement(gradients: Sequence[torch.Tensor]) -> float:
    """Mean cosine of all pairs."""
    pairs = itertools.combinations(gradients, 2)
    return float(np.mean([torch.cosine_similarity(a, b, dim=0) for a, b in pairs]))


def main() -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny-chat")
    parser.add_argument("--tokenizer", default="tiny")
    parser.add_argument("--conversations", required=True)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=64, help="of a batch")
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--temperature", type=float, default=0.7)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    tokenizer = SAMTok.from_pretrained(args.tokenizer, device="cpu")
    corpus = open_training_conversations(args.conversations, tokenizer.fingerprint)
    order = np.random.default_rng(0).permutation(corpus.starts[-1])
    wanted = {int(n) for n in order[: args.batches * args.prompts]}
    rows = [row for n, row in enumerate(corpus.read(0, corpus.starts[-1])) if n in wanted]
    rows = [rows[n] for n in np.random.default_rng(1).permutation(len(rows))]
    judges = {
        name: Composition(config, load_similarity(config, args.tokenizer, tokenizer))
        for name, config in REWARDS.items()
    }
    learner = Learner(args)
    found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for first in range(0, len(rows), args.prompts):
        batch = rows[first : first + args.prompts]
        groups = learner.answer(batch, first)
        targets = [row["messages"][-1]["content"] for row in batch]
        has_target = torch.tensor([bool(row["mask_ids"]) for row in batch])
        for name, composition in judges.items():
            rewards = judge(learner, groups, targets, composition)
            result = compute_group_advantages(rewards, normalize_by_std=False)
            on_target = result.advantages * has_target[:, None]
            own = found[name]
            own["reward"].append(float(rewards.mean()))
            own["flat_share"].append(float(result.is_flat.float().mean()))
            own["all"].append(learner.differentiate(groups, list(result.advantages)))
            own["on_target"].append(learner.differentiate(groups, list(on_target)))
    report = {
        name: {
            "reward": round(float(np.mean(own["reward"])), 3),
            "flat_share": round(float(np.mean(own["flat_share"])), 3),
            "agreement": round(agreement(own["all"]), 4),
            "agreement_where_there_is_a_target": round(agreement(own["on_target"]), 4),
        }
        for name, own in found.items()
    }
    print(json.dumps({"settings": vars(args), "rewards": report}, indent=1))


if __name__ == "__main__":
    main()
