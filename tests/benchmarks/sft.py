"""Fine-tuning against TRL's SFTTrainer: the same tiny model, conversations, loss and process.

Both compute the loss of answers only, with AdamW in float32 and one torch thread, and both open and
encode conversations as they go, in the training process. Conversations about scenes have one to
eight rounds, so their lengths differ; TRL does not pack conversations with images.

    pip install trl datasets  # into an environment of its own; the project does not need them
    python tests/benchmarks/sft.py [--steps 12] [--batch 16] [--repeats 3]

Prints one JSON object: tokens per second (padding not counted; median of the repeats) of TRL, of
ours padded and of ours packed, and the ratios to TRL. Says so and stops where TRL is not installed.
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

from samtok.mllm import Mllm, extend_vocabulary
from samtok.mllm.collate import Example, encode_example
from samtok.mllm.tiny import build_tiny_mllm
from samtok.mllm.training import SftConfig, SftTrainer, make_batch
from samtok.scenes import generate_scene
from samtok.tasks.conversation import Conversation, Message
from samtok.words import format_codes

try:
    import datasets
    import trl
    from transformers import TrainerCallback
except ImportError:
    trl = None

CAPACITY = 512
"""Tokens of a packed row."""
LEARNING_RATE = 1e-4
TEMPLATE = (  # the tiny model's, with answers marked, as TRL asks for
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content[0].text + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{{ '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
)


def build_mllm() -> Mllm:
    """The tiny model with mask words; the same weights every time."""
    mllm = build_tiny_mllm()
    extend_vocabulary(mllm.model, mllm.processor)
    return mllm


def talk(index: int) -> Example:
    """A conversation about a scene, of one to eight rounds."""
    rng = np.random.default_rng(index)
    messages: list[Message] = []
    for _ in range(int(rng.integers(1, 9))):
        words = format_codes(rng.integers(0, 256, (int(rng.integers(1, 4)), 2)))
        messages += [
            Message("user", "Segment the striped circle on the left, please."),
            Message("assistant", f"Here it is: {', '.join(words)}."),
        ]
    conversation = Conversation(
        conversation_id=str(index),
        task="referring_segmentation",
        messages=tuple(messages),
        target_words=tuple(words),
        mask_ids=tuple(map(str, range(len(words)))),
    )
    return Example(conversation, generate_scene(index).image)


def time_ours(examples: list[Example], batch: int, capacity: int | None) -> float:
    """Seconds of one pass over the conversations."""
    mllm = build_mllm()
    config = SftConfig(num_steps=len(examples) // batch, learning_rate=LEARNING_RATE)
    trainer = SftTrainer(mllm, config, device=torch.device("cpu"))
    begun = time.perf_counter()
    for start in range(0, len(examples), batch):
        encoded = [
            encode_example(example, mllm.processor, 4096)
            for example in examples[start : start + batch]
        ]
        trainer.train_step([make_batch(encoded, mllm, capacity=capacity)])
    return time.perf_counter() - begun


def time_trl(examples: list[Example], batch: int) -> float:
    """Seconds of one pass over the conversations."""
    mllm = build_mllm()
    mllm.processor.chat_template = mllm.tokenizer.chat_template = TEMPLATE
    rows = [
        {
            "images": [Image.fromarray(example.image)],
            "messages": [
                {"role": message.role, "content": message.content}
                for message in example.conversation.messages
            ],
        }
        for example in examples
    ]
    times: dict[str, float] = {}

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times["begin"] = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            times["end"] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        settings = trl.SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=batch,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            warmup_steps=0,
            max_length=None,
            assistant_only_loss=True,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = trl.SFTTrainer(
            model=mllm.model.float(),
            args=settings,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=mllm.processor,
            callbacks=[Clock()],
        )
        trainer.train()
    return times["end"] - times["begin"]


def main() -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if trl is None:
        print(json.dumps({"skipped": "TRL is not installed: pip install trl datasets"}))
        return
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    examples = [talk(index) for index in range(args.steps * args.batch)]
    processor = build_mllm().processor
    tokens = sum(len(encode_example(example, processor, 4096)) for example in examples)
    ways: dict[str, Callable[[], float]] = {
        "trl": lambda: time_trl(examples, args.batch),
        "padded": lambda: time_ours(examples, args.batch, None),
        "packed": lambda: time_ours(examples, args.batch, CAPACITY),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):  # in turns, as the machine's speed may drift
        for name, measure in ways.items():
            seconds[name].append(measure())
    rates = {name: tokens / statistics.median(each) for name, each in seconds.items()}
    report = {
        "trl_version": trl.__version__,
        "conversations": len(examples),
        "tokens": tokens,
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
        "padded_over_trl": round(rates["padded"] / rates["trl"], 2),
        "packed_over_trl": round(rates["packed"] / rates["trl"], 2),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
