"""The base that ships: small, offline, sees scenes and talks about them, knows no mask words."""

from pathlib import Path

import pytest

import samtok.mllm
from samtok.mllm import load_mllm
from samtok.mllm.pretraining.exam import examine
from samtok.mllm.tiny import train_tiny_tokenizer
from samtok.scenes import generate_scene
from samtok.words import MASK_START


@pytest.fixture(scope="module")
def base():
    return load_mllm("tiny-base", device="cpu")


def test_it_is_small():
    folder = Path(samtok.mllm.__file__).parent / "packaged" / "tiny-base"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 24 * 2**20


def test_it_knows_no_mask_words_and_reads_as_a_new_one(base):
    vocabulary = base.tokenizer.get_vocab()
    assert MASK_START not in vocabulary
    assert vocabulary == train_tiny_tokenizer().get_vocab()
    assert base.mask_tokenizer is None


def test_it_names_things_in_unseen_scenes_better_than_by_chance(base):
    """docs/jobs/pretrain_tiny_base.md has what it reaches; chance is 0.11 for colours, 0.1 for
    shapes."""
    figures = examine(base, [generate_scene(index, split="test") for index in range(30)])
    assert figures["color_right"] > 0.85
    assert figures["category_right"] > 0.7
    assert figures["refused"] > 0.85
    assert figures["box_iou"] > 0.5
