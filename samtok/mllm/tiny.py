"""A Qwen3-VL of a few million parameters, with a tokenizer and a processor made without a network.

It has the parts and the code path of the hub models (vision tower, merger, deepstack, interleaved
multimodal rotary positions, byte-level BPE with the same special tokens), only smaller, so that
whatever runs on it runs on them. A scene of 128 x 128 pixels becomes 64 image tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import torch
from transformers import (
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from samtok.mllm.model import Mllm
from samtok.scenes import generate_scene
from samtok.tasks.registry import make_scene_conversations

SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Those of the hub models, in their order."""

_VOCABULARY_SIZE: Final = 1500
_TABLE_ROWS: Final = 1536
"""More rows than tokens, as the hub models have."""
_TOKENIZER_SCENES: Final = 100
_SPECIAL: Final = re.compile(r"<\|\w+\|>")

CHAT_TEMPLATE: Final = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'text' -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""
"""The hub models' turns (ChatML), without tools and videos."""


def build_tiny_mllm(seed: int = 0) -> Mllm:
    """A model with random weights, and a processor whose tokenizer has learned from scenes.

    Args:
        seed: of the weights; the tokenizer is always the same one.

    Returns:
        float32 on the CPU, in evaluation mode, sdpa attention, no mask words yet.
    """
    tokenizer = train_tiny_tokenizer()
    config = make_tiny_config(tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    sizes = {"patch_size": 8, "temporal_patch_size": 2, "merge_size": 2}
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            **sizes,
            size={"shortest_edge": 128 * 128, "longest_edge": 256 * 256},
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**sizes),
        chat_template=CHAT_TEMPLATE,
    )
    return Mllm(model=model, processor=processor)


def train_tiny_tokenizer() -> Qwen2Tokenizer:
    """Byte-level BPE with Qwen2's rules (digits stand alone), learned from dialogues."""
    tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        _list_texts(),
        _VOCABULARY_SIZE,
        new_special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    return tokenizer


def make_tiny_config(tokenizer: Qwen2Tokenizer) -> Qwen3VLConfig:
    """About 4 million parameters."""
    token_id = tokenizer.convert_tokens_to_ids
    return Qwen3VLConfig(
        text_config={
            "vocab_size": _TABLE_ROWS,
            "hidden_size": 192,
            "intermediate_size": 576,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 48,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [8, 8, 8],
                "mrope_interleaved": True,
            },
            "pad_token_id": token_id("<|endoftext|>"),
            "eos_token_id": token_id("<|im_end|>"),
        },
        vision_config={
            "depth": 5,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_heads": 4,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 192,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [2],
        },
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def _list_texts() -> Iterator[str]:
    """Conversations of all tasks, cut at masks and special tokens."""
    for index in range(_TOKENIZER_SCENES):
        scene = generate_scene(index)
        words = {thing.mask_id: "<|mask|>" for thing in scene.objects}
        for conversation in make_scene_conversations(scene, words):
            for message in conversation.messages:
                yield from _SPECIAL.split(message.content)
