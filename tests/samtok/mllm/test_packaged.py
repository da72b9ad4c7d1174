"""The models that ship: a base that sees scenes and knows no mask words, and one that does."""

from pathlib import Path

import numpy as np
import pytest

import samtok.mllm
from samtok.metrics.segmentation import measure_overlap
from samtok.mllm import chat, load_mllm
from samtok.mllm.model import PACKAGED
from samtok.mllm.pretraining.exam import examine
from samtok.mllm.tiny import train_tiny_tokenizer
from samtok.scenes import describe_scene, generate_scene
from samtok.tokenizer import SAMTok
from samtok.words import MASK_START, format_codes


@pytest.fixture(scope="module")
def base():
    return load_mllm("tiny-base", device="cpu")


@pytest.fixture(scope="module")
def chatting():
    return load_mllm("tiny-chat", device="cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return SAMTok.from_pretrained("tiny", device="cpu")


@pytest.mark.parametrize("name", PACKAGED)
def test_it_is_small(name):
    folder = Path(samtok.mllm.__file__).parent / "packaged" / name
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 24 * 2**20


def test_it_knows_no_mask_words_and_reads_as_a_new_one(base):
    vocabulary = base.tokenizer.get_vocab()
    assert MASK_START not in vocabulary
    assert vocabulary == train_tiny_tokenizer().get_vocab()
    assert base.mask_tokenizer is None


def test_it_names_things_in_unseen_scenes_better_than_by_chance(base):
    """docs/jobs/pretrain_tiny_base.md has what it reaches; chance is 0.11 for colours, 0.1 for
    shapes."""
    figures = examine(base, [generate_scene(index, split="test") for index in range(60)])
    assert figures["color_right"] > 0.85
    assert figures["category_right"] > 0.78
    assert figures["refused"] >= 0.9
    assert figures["box_iou"] > 0.6


def test_the_chat_model_finds_what_an_expression_names(chatting, tokenizer):
    """docs/jobs/train_sft.md: gIoU 0.72."""
    overlaps = []
    for index in range(6):
        scene = generate_scene(index, split="test")
        masks = {t.mask_id: m for t, m in zip(scene.objects, scene.masks, strict=True)}
        for text in describe_scene(scene):
            if text.kind != "referring" or len(text.mask_ids) != 1:
                continue
            answer = chat(chatting, tokenizer, scene.image, f"Segment {text.text}.")
            found = answer.masks.any(0).numpy()
            overlaps.append(measure_overlap(found, masks[text.mask_ids[0]]).iou)
    assert len(overlaps) > 20
    assert np.mean(overlaps) > 0.6


def test_the_chat_model_tells_what_is_in_a_mask(chatting, tokenizer):
    right = []
    for index in range(8):
        scene = generate_scene(index, split="test")
        words = format_codes(tokenizer.encode(scene.image, scene.masks))
        for thing, region in zip(scene.objects, words, strict=True):
            answer = chat(chatting, tokenizer, scene.image, f"What color is {region}?")
            right.append(thing.color in answer.text.lower())
    assert len(right) > 30
    assert np.mean(right) > 0.7
