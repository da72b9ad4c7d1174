"""The tokenizer that ships: small, offline, and better than a box on scenes it has not seen."""

from importlib import resources

import numpy as np
import pytest

from samtok import SAMTok
from samtok.metrics.baselines import box_reconstruction
from samtok.metrics.codebook import codebook_usage
from samtok.metrics.reconstruction import first_code_iou, reconstruct
from samtok.metrics.segmentation import mask_iou
from samtok.scenes import generate_scene


@pytest.fixture(scope="module")
def measured():
    """Overlaps of all masks of 120 test scenes: both words, first word, box; and the codes."""
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    parts = {"both": [], "first": [], "box": [], "codes": []}
    for index in range(120):
        scene = generate_scene(index, split="test")
        if not len(scene.masks):
            continue
        embeddings = tokenizer.embed(scene.image)
        rebuilt = reconstruct(tokenizer, embeddings, scene.masks)
        boxes = np.stack([box_reconstruction(mask) for mask in scene.masks])
        parts["both"].append(rebuilt.iou)
        parts["first"].append(first_code_iou(tokenizer, embeddings, rebuilt.codes, scene.masks))
        parts["box"].append(mask_iou(boxes, scene.masks))
        parts["codes"].append(rebuilt.codes)
    return {key: np.concatenate(values) for key, values in parts.items()}


def test_it_is_small():
    folder = resources.files("samtok.tokenizer") / "packaged" / "tiny"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) <= 8 * 2**20


def test_two_words_beat_a_box(measured):
    assert measured["both"].mean() > measured["box"].mean() + 0.05


def test_the_second_word_is_worth_something(measured):
    assert measured["both"].mean() > measured["first"].mean() + 0.02


def test_both_codebooks_are_used(measured):
    assert min(codebook_usage(measured["codes"]).perplexity) >= 100
