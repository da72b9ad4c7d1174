"""Models as wide as those of the hub, of few layers and words, with random weights: all the way."""

import dataclasses

import pytest
import torch
from transformers import AutoModelForImageTextToText, Qwen2VLImageProcessor

from samtok.mllm import Mllm, extend_vocabulary, load_mllm, save_mllm
from samtok.mllm.generation import GenerationConfig, generate
from samtok.mllm.training import SftConfig, SftTrainer
from samtok.mllm.training.lora import merge_adapters
from tests.samtok.mllm.training.small_sft import batch, talk
from tests.small_mllm import build_small_mllm

TEXT = {
    "qwen3_vl": {  # Qwen/Qwen3-VL-4B-Instruct
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_hidden_layers": 1,  # 36
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5_000_000,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    },
    "qwen2_5_vl": {  # Qwen/Qwen2.5-VL-3B-Instruct
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "num_hidden_layers": 1,  # 36
        "layer_types": ["full_attention"],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1_000_000,
            "mrope_section": [16, 24, 24],
        },
    },
}
VISION = {
    "qwen3_vl": {
        "depth": 2,  # 24
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_heads": 16,
        "patch_size": 16,
        "out_hidden_size": 2560,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [0],  # 5, 11, 17
    },
    "qwen2_5_vl": {
        "depth": 2,  # 32
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "patch_size": 14,
        "out_hidden_size": 2048,
        "window_size": 112,
        "fullatt_block_indexes": [1],  # 7, 15, 23, 31
    },
}


def build_wide_mllm(family):
    small = build_small_mllm(family)
    config = small.model.config.to_dict()
    config["text_config"] |= TEXT[family]
    config["vision_config"] |= VISION[family]
    patch = VISION[family]["patch_size"]
    small.processor.image_processor = Qwen2VLImageProcessor(
        patch_size=patch,
        merge_size=2,
        size={"shortest_edge": (4 * patch) ** 2, "longest_edge": (8 * patch) ** 2},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = type(small.model)(type(small.model.config)(**config)).eval()
    return Mllm(model, small.processor)


@pytest.mark.parametrize("family", TEXT)
def test_extended_trained_saved_and_loaded_it_answers_as_before(family, tmp_path):
    mllm = build_wide_mllm(family)
    assert not extend_vocabulary(mllm.model, mllm.processor)
    config = SftConfig(num_steps=2, learning_rate=1e-4, lora_rank=4, freeze_vision=True)
    trainer = SftTrainer(mllm, config, device=torch.device("cpu"))
    losses = [trainer.train_step([batch(mllm, range(2))])["loss"] for _ in range(2)]
    assert losses[1] < losses[0]

    example = talk(0)
    greedy = GenerationConfig(max_new_tokens=12, constrain_masks=False)
    questions = [list(example.conversation.messages[:1])]
    answers = generate(mllm, [example.image], questions, greedy)
    assert trainer.adapted is not None
    merged = dataclasses.replace(mllm, model=merge_adapters(trainer.adapted))
    save_mllm(merged, tmp_path)
    again = load_mllm(tmp_path, device="cpu")
    assert extend_vocabulary(again.model, again.processor)
    assert generate(again, [example.image], questions, greedy) == answers
    assert type(AutoModelForImageTextToText.from_pretrained(tmp_path)) is type(mllm.model)
