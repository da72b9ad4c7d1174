"""A very small model that guesses one of four masks, and conversations in which one is right."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipelines import columns
from pipelines.grpo.rollout_config import RolloutConfig
from pipelines.grpo.run import TrainGrpoConfig
from pipelines.tracking_config import TrackingConfig
from samtok.masks import encode_rle
from samtok.mllm import save_mllm
from samtok.mllm.collate import Example, encode_example
from samtok.mllm.grpo import GrpoConfig
from samtok.mllm.training import SftConfig, SftTrainer, make_batch
from samtok.tasks.conversation import Conversation, Message
from samtok.words import format_codes
from tests.pipelines.training.small_conversations import conversation_row, write_conversations
from tests.samtok.mllm.training.small_sft import build_mllm

SPANS = format_codes([(1, 2), (3, 4), (5, 6), (7, 8)])
RIGHT = SPANS[2]
QUESTION = "Segment the red cup."


def save_guessing_model(folder):
    """Fine-tuned on an even grey to answer with any of the four spans, each as often."""
    mllm = build_mllm()
    config = SftConfig(num_steps=40, learning_rate=2e-2, optimizer="muon")
    trainer = SftTrainer(mllm, config, device=torch.device("cpu"))
    image = np.full((32, 32, 3), 128, dtype=np.uint8)
    examples = [
        Example(
            Conversation(
                conversation_id=span,
                task="referring_segmentation",
                messages=(Message("user", QUESTION), Message("assistant", span)),
                target_words=(span,),
                mask_ids=("0",),
            ),
            image,
        )
        for span in SPANS
    ]
    encoded = [encode_example(example, mllm.processor, 4096) for example in examples]
    for _ in range(config.num_steps):
        trainer.train_step([make_batch(encoded, mllm)])
    save_mllm(mllm, folder)


def row(index, **changes):
    """A question about noise whose right answer is always the same span."""
    return conversation_row(
        index,
        **{
            "task": "referring_segmentation",
            "messages": [
                {"role": "user", "content": QUESTION},
                {"role": "assistant", "content": RIGHT},
            ],
            "target_words": [RIGHT],
            "mask_ids": ["0"],
            **changes,
        },
    )


def write_words(folder, rows, fingerprint):
    """The mask words behind some rows: the left half of each image."""
    words = []
    for each in rows:
        mask = np.zeros((each["height"], each["width"]), dtype=bool)
        mask[:, : each["width"] // 2] = True
        words.append(
            {
                "image_id": each["image_id"],
                "mask_id": "0",
                "category": "noise",
                "words": RIGHT,
                "rle": encode_rle(mask),
            }
        )
    (folder / "words").mkdir(parents=True)
    table = pa.Table.from_pylist(words, schema=columns.MASK_WORDS)
    pq.write_table(table, folder / "words/part-000000.parquet")
    manifest = {
        "stage": "tokenize_corpus",
        "files": ["words/part-000000.parquet"],
        "counts": {"figures": {"num_masks": len(words)}},
        "tokenizer_fingerprint": fingerprint,
    }
    (folder / "_manifest.json").write_text(json.dumps(manifest))


def write_inputs(folder, tokenizer_folder, fingerprint):
    """A model, a tokenizer, conversations to train on and to audit; one of each has no image."""
    (folder / "tokenizer").symlink_to(tokenizer_folder)
    rows = [row(index) for index in range(24)]
    rows[5] |= {"image": None, "image_uri": "/nowhere/5.png"}
    write_conversations(folder / "train", rows, fingerprint)
    held_out = [row(100 + index) for index in range(7)]
    held_out[6] |= {"image": None, "image_uri": "/nowhere/106.png"}
    write_conversations(folder / "held_out", held_out, fingerprint)
    write_words(folder / "held_out_words", held_out, fingerprint)
    save_guessing_model(folder / "model")
    return folder


def settings(output, inputs, **changes):
    """A short training."""
    training = {"num_steps": 6, "learning_rate": 3e-3, **changes.pop("training", {})}
    rollouts = {"prompts_per_call": 2, "max_new_tokens": 8, **changes.pop("rollouts", {})}
    return TrainGrpoConfig(
        **{
            "output": str(output),
            "conversations": (str(inputs / "train"),),
            "model": str(inputs / "model"),
            "tokenizer": str(inputs / "tokenizer"),
            "prompts_per_step": 4,
            "responses_per_prompt": 6,
            "prompts_per_lane": 2,
            "prompts_per_window": 8,
            "max_length": 256,
            "audit_conversations": str(inputs / "held_out"),
            "audit_words": str(inputs / "held_out_words"),
            "audit_drawn": 1,
            "validate_every": 3,
            "checkpoint_every": 2,
            "rollouts": RolloutConfig(**rollouts),
            "training": GrpoConfig(**training),
            "tracking": TrackingConfig(enabled=False),
            "register": "",
            **changes,
        }
    )
