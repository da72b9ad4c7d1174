"""GRPO against TRL's GRPOTrainer: the same tiny model, prompts, group size, lengths and process.

Both sample groups of answers to prompts about scenes, judge them by their words, and take a step of
AdamW in float32 with one torch thread; both open and encode images as they go. The model has random
weights, so that answers reach the length limit in both. Beside it: sampling with a prompt read once
for its group against once for each answer, and judging an answer by its text against decoding its
masks and measuring their IoU (the image embedded once for the group).

    pip install trl datasets  # into an environment of its own; the project does not need them
    python tests/benchmarks/grpo.py [--steps 4] [--prompts 4] [--group 8] [--length 24]

Prints one JSON object of rates (medians of the repeats) and ratios. Without TRL its part is left
out, which the object says.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from samtok import SAMTok
from samtok.grpo.advantages import compute_group_advantages
from samtok.metrics.answer_masks import decode_answers
from samtok.metrics.segmentation import measure_overlap
from samtok.mllm import GenerationConfig, Mllm, extend_vocabulary
from samtok.mllm.collate import EncodedExample, encode_prompt
from samtok.mllm.group_generation import generate_groups
from samtok.mllm.grpo import GrpoConfig, GrpoTrainer, ScoredGroup, make_group_batch
from samtok.mllm.tiny import build_tiny_mllm
from samtok.rewards import answer_matching
from samtok.scenes import generate_scene
from samtok.tasks.conversation import Message
from samtok.words import format_codes

try:
    import datasets
    import trl
    from transformers import TrainerCallback
except ImportError:
    trl = None

LEARNING_RATE = 1e-5
QUESTION = "Segment the striped circle on the left, please."
TARGET = format_codes([(3, 5)])[0]


def build_mllm() -> Mllm:
    """The tiny model with mask words; the same weights every time."""
    mllm = build_tiny_mllm()
    extend_vocabulary(mllm.model, mllm.processor)
    return mllm


def encode(mllm: Mllm, images: list[np.ndarray]) -> list[EncodedExample]:
    """Prompts about some images."""
    return [encode_prompt((Message("user", QUESTION),), image, mllm.processor) for image in images]


def time_ours(images: list[np.ndarray], args: argparse.Namespace) -> float:
    """Seconds of all steps."""
    mllm = build_mllm()
    config = GrpoConfig(num_steps=args.steps, learning_rate=LEARNING_RATE)
    trainer = GrpoTrainer(mllm, config, temperature=1.0, device=torch.device("cpu"))
    sampling = GenerationConfig(max_new_tokens=args.length, temperature=1.0, constrain_masks=False)
    begun = time.perf_counter()
    for step in range(args.steps):
        prompts = encode(mllm, images[step * args.prompts : (step + 1) * args.prompts])
        seeds = [
            [(step * args.prompts + n) * args.group + g for g in range(args.group)]
            for n in range(args.prompts)
        ]
        groups = generate_groups(mllm, prompts, seeds, sampling)
        rewards = torch.tensor([[judge(mllm, a.token_ids) for a in group] for group in groups])
        advantages = compute_group_advantages(rewards, normalize_by_std=True).advantages
        scored = [ScoredGroup(*each) for each in zip(prompts, groups, advantages, strict=True)]
        trainer.train_step([make_group_batch(scored, mllm)])
    return time.perf_counter() - begun


def judge(mllm: Mllm, token_ids: torch.Tensor) -> float:
    """Reward of an answer."""
    return answer_matching(mllm.tokenizer.decode(token_ids.tolist()), TARGET)


def time_trl(images: list[np.ndarray], args: argparse.Namespace) -> float:
    """Seconds of all steps, the trainer's start and end left out."""
    mllm = build_mllm()
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    rows = [{"prompt": prompt, "image": Image.fromarray(image)} for image in images]
    times: dict[str, float] = {}

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times["begin"] = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            times["end"] = time.perf_counter()

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return [answer_matching(each[0]["content"], TARGET) for each in completions]

    with tempfile.TemporaryDirectory() as folder:
        settings = trl.GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=args.prompts * args.group,
            num_generations=args.group,
            max_completion_length=args.length,
            max_steps=args.steps,
            num_iterations=1,
            steps_per_generation=1,
            beta=0.0,
            loss_type="bnpo",
            temperature=1.0,
            learning_rate=LEARNING_RATE,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = trl.GRPOTrainer(
            model=mllm.model.float(),
            reward_funcs=reward,
            args=settings,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=mllm.processor,
            callbacks=[Clock()],
        )
        trainer.train()
    return times["end"] - times["begin"]


def time_sampling(images: list[np.ndarray], args: argparse.Namespace, *, shared: bool) -> float:
    """Seconds of sampling alone."""
    mllm = build_mllm()
    prompts = encode(mllm, images[: args.prompts])
    seeds = [[n * args.group + g for g in range(args.group)] for n in range(args.prompts)]
    if not shared:
        prompts = [prompt for prompt in prompts for _ in range(args.group)]
        seeds = [[seed] for own in seeds for seed in own]
    config = GenerationConfig(max_new_tokens=args.length, temperature=1.0, constrain_masks=False)
    begun = time.perf_counter()
    generate_groups(mllm, prompts, seeds, config)
    return time.perf_counter() - begun


def time_judging(args: argparse.Namespace, *, by_text: bool) -> float:
    """Seconds for a group's answers, each with two masks."""
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    scene = generate_scene(0)
    truth = np.asarray(scene.masks)[0]
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (args.group, 2, 2))
    answers = ["".join(format_codes(pairs)) for pairs in codes]
    begun = time.perf_counter()
    if by_text:
        for answer in answers:
            answer_matching(answer, TARGET)
    else:
        decoded = decode_answers(tokenizer, scene.image, answers)
        for pairs in codes.tolist():
            merged = np.logical_or.reduce([decoded[tuple(pair)] for pair in pairs])
            measure_overlap(merged, truth)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--length", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    images = [generate_scene(index).image for index in range(args.steps * args.prompts)]
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: time_ours(images, args),
        "sampling_shared": lambda: time_sampling(images, args, shared=True),
        "sampling_apart": lambda: time_sampling(images, args, shared=False),
        "text": lambda: time_judging(args, by_text=True),
        "masks": lambda: time_judging(args, by_text=False),
    }
    if trl is not None:
        ways["trl"] = lambda: time_trl(images, args)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):  # in turns, as the machine's speed may drift
        for name, measure in ways.items():
            seconds[name].append(measure())
    median = {name: statistics.median(each) for name, each in seconds.items()}
    report: dict[str, Any] = {
        "settings": vars(args),
        "shared_prefix_over_apart": round(median["sampling_apart"] / median["sampling_shared"], 2),
        "decode_and_iou_over_text_reward": round(median["masks"] / median["text"], 1),
        "trl": "not installed: pip install trl datasets",
    }
    if trl is not None:
        report["trl"] = trl.__version__
        report["steps_per_second"] = {
            name: round(args.steps / median[name], 3) for name in ("ours", "trl")
        }
        report["ours_over_trl"] = round(median["trl"] / median["ours"], 2)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
