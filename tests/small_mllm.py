"""Models of both families with random weights, tokenizer and processor made offline.

Their configs are those of the hub models at reduced depth and width; chat templates write what the
hub models' do for texts and images.
"""

import contextlib

import torch
from tokenizers import AddedToken
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from samtok.mllm import Mllm
from samtok.mllm.tiny import SPECIAL_TOKENS

FAMILIES = ("qwen3_vl", "qwen2_5_vl")
PADDING_ROWS = 32
"""Rows of the embedding table beyond the tokenizer's, as hub models have them."""

_TEXTS = [
    "system\nYou are a helpful assistant.",
    "user\nSegment the red cup and the blue ball on the table.",
    'assistant\n```json\n[{"mask_2d": "", "label": "cup"}]\n```',
    "What is in the image? Describe the region. A small dog near a green tree. No target.",
]
_TURNS = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% for part in message.content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>{%- endif -%}
{%- if part.type == 'text' -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""
_SYSTEM_TURN = """\
{%- if messages[0].role != 'system' -%}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif -%}
"""
_VISION_SHAPE = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "patch_size": 4,
    "out_hidden_size": 32,
}
_TEXT_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
}


def build_tokenizer() -> Qwen2Tokenizer:
    """Byte-level BPE by Qwen2's rules, with merges from a few sentences."""
    learned = Qwen2Tokenizer().train_new_from_iterator(_TEXTS, 400, show_progress=False)
    tokenizer = Qwen2Tokenizer(vocab=learned.get_vocab(), merges=_merges(learned))
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    return tokenizer


def build_small_mllm(family: str, *, tied: bool = True, seed: int = 0) -> Mllm:
    """A model of one of the FAMILIES that answers in milliseconds; 32 x 32 pixels are 16 tokens."""
    tokenizer = build_tokenizer()
    build = _build_qwen3 if family == "qwen3_vl" else _build_qwen2_5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(tokenizer, tied)


@contextlib.contextmanager
def saying(mllm, text):
    """The model writes this text and ends its turn."""
    ids = iter(mllm.tokenizer(text)["input_ids"])
    end = mllm.tokenizer.eos_token_id

    def choose(module, args, logits):
        chosen = torch.full_like(logits, -1e4)
        chosen[..., next(ids, end)] = 1e4
        return chosen

    handle = mllm.model.lm_head.register_forward_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def _merges(tokenizer):
    import json

    return [tuple(m) for m in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]


def _ids(tokenizer):
    names = {"image": "image_pad", "video": "video_pad"}
    ids = {f"{k}_token_id": tokenizer.convert_tokens_to_ids(f"<|{v}|>") for k, v in names.items()}
    for name in ("vision_start", "vision_end"):
        ids[f"{name}_token_id"] = tokenizer.convert_tokens_to_ids(f"<|{name}|>")
    return ids


def _image_processor(patch_size):
    return Qwen2VLImageProcessor(
        patch_size=patch_size,
        merge_size=2,
        size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128},
    )


def _build_qwen3(tokenizer, tied):
    config = Qwen3VLConfig(
        text_config={
            **_TEXT_SHAPE,
            "vocab_size": len(tokenizer) + PADDING_ROWS,
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5_000_000,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            **_VISION_SHAPE,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        tie_word_embeddings=tied,
        **_ids(tokenizer),
    )
    processor = Qwen3VLProcessor(
        image_processor=_image_processor(4),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=4),
        chat_template=_TURNS,
    )
    return Mllm(Qwen3VLForConditionalGeneration(config).eval(), processor)


def _build_qwen2_5(tokenizer, tied):
    config = Qwen2_5_VLConfig(
        text_config={
            **_TEXT_SHAPE,
            "vocab_size": len(tokenizer) + PADDING_ROWS,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1_000_000,
                "mrope_section": [4, 2, 2],
            },
        },
        vision_config={
            **_VISION_SHAPE,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        tie_word_embeddings=tied,
        **_ids(tokenizer),
    )
    processor = Qwen2_5_VLProcessor(
        image_processor=_image_processor(4),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(patch_size=4),
        chat_template=_SYSTEM_TURN + _TURNS,
    )
    return Mllm(Qwen2_5_VLForConditionalGeneration(config).eval(), processor)


def assert_learn_the_same(model, attention, one, other):
    """Two batches give the same loss and gradients under an attention implementation."""
    before = model.config._attn_implementation
    results = []
    try:
        model.set_attn_implementation(attention)
        for batch in (one, other):
            model.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            results.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    finally:
        model.set_attn_implementation(before)
        model.zero_grad()
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
