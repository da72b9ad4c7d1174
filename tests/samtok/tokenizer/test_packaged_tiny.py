"""The tokenizer that ships: small, offline, better than boxes and polygons on unseen scenes."""

from importlib import resources

import numpy as np
import pytest

from samtok import SAMTok
from samtok.metrics.baselines import box_reconstruction, polygon_reconstruction
from samtok.metrics.codebook import codebook_usage
from samtok.metrics.reconstruction import first_code_iou, reconstruct
from samtok.metrics.segmentation import mask_iou
from samtok.scenes import generate_scene


@pytest.fixture(scope="module")
def measured():
    """Overlaps of all masks of 300 test scenes, and their areas and codes."""
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    parts = {"both": [], "first": [], "box": [], "polygon": [], "area": [], "codes": []}
    for index in range(300):
        scene = generate_scene(index, split="test")
        if not len(scene.masks):
            continue
        embeddings = tokenizer.embed(scene.image)
        rebuilt = reconstruct(tokenizer, embeddings, scene.masks)
        boxes = np.stack([box_reconstruction(mask) for mask in scene.masks])
        parts["both"].append(rebuilt.iou)
        parts["first"].append(first_code_iou(tokenizer, embeddings, rebuilt.codes, scene.masks))
        parts["box"].append(mask_iou(boxes, scene.masks))
        polygons = np.stack([polygon_reconstruction(mask, 8) for mask in scene.masks])
        parts["polygon"].append(mask_iou(polygons, scene.masks))
        parts["area"].append(np.array([item.area for item in scene.objects]))
        parts["codes"].append(rebuilt.codes)
    return {key: np.concatenate(values) for key, values in parts.items()}


def test_it_is_small():
    folder = resources.files("samtok.tokenizer") / "packaged" / "tiny"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) <= 8 * 2**20


def test_it_reconstructs_unseen_masks(measured):
    assert len(measured["both"]) >= 1000
    assert measured["both"].mean() >= 0.90


def test_two_words_beat_a_box_and_an_8_vertex_polygon(measured):
    assert measured["both"].mean() > measured["box"].mean() + 0.3
    assert measured["both"].mean() > measured["polygon"].mean() + 0.05


def test_small_masks_survive(measured):
    """Below 32 x 32 pixels: COCO's smallest bin, and five sixths of these masks."""
    assert measured["both"][measured["area"] < 32**2].mean() > 0.89


def test_the_second_word_is_worth_something(measured):
    assert measured["both"].mean() > measured["first"].mean() + 0.05


def test_both_codebooks_are_used(measured):
    assert min(codebook_usage(measured["codes"]).perplexity) >= 150
