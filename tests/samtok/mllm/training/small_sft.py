"""A very small model that knows the mask words, and conversations about noise to train it on."""

import numpy as np
import torch

from samtok.mllm import extend_vocabulary
from samtok.mllm.collate import Example, encode_example
from samtok.mllm.training import SftConfig, SftTrainer, make_batch
from samtok.tasks.conversation import Conversation, Message
from samtok.words import format_codes
from tests.small_mllm import build_small_mllm

CONFIG = SftConfig(num_steps=6, learning_rate=3e-3)


def build_mllm(family="qwen3_vl", **options):
    mllm = build_small_mllm(family, **options)
    extend_vocabulary(mllm.model, mllm.processor)
    return mllm


def talk(index, num_rounds=1):
    """A conversation about an image of noise, of a length of its own."""
    rng = np.random.default_rng(index)
    image = rng.integers(0, 256, (32, int(rng.integers(32, 64)), 3), dtype=np.uint8)
    messages = []
    for _ in range(num_rounds + index % 2):
        words = format_codes(rng.integers(0, 256, (1 + index % 3, 2)))
        messages += [Message("user", "Segment the red cup."), Message("assistant", "".join(words))]
    conversation = Conversation(
        conversation_id=str(index),
        task="referring_segmentation",
        messages=tuple(messages),
        target_words=tuple(words),
        mask_ids=tuple(map(str, range(len(words)))),
    )
    return Example(conversation, image)


def encode(mllm, indexes):
    return [encode_example(talk(i), mllm.processor, 4096) for i in indexes]


def batch(mllm, indexes, capacity=None):
    return make_batch(encode(mllm, indexes), mllm, capacity=capacity)


def build_trainer(config=CONFIG, mllm=None):
    torch.manual_seed(7)  # nothing may depend on it
    return SftTrainer(mllm or build_mllm(), config, device=torch.device("cpu"))


def run(trainer, lanes, first=0):
    """Train to the end; step `s` reads the batches of `lanes(s)`. Returns the figures of each."""
    return [
        trainer.train_step([batch(trainer.mllm, indexes) for indexes in lanes(step)])
        for step in range(first, trainer.config.num_steps)
    ]


def weights(trainer):
    return {k: v.detach().clone() for k, v in trainer.mllm.model.named_parameters()}
