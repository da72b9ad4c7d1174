import numpy as np
import torch

from samtok import SAMTok
from samtok.masks import compute_boxes
from samtok.metrics.segmentation import mask_iou
from samtok.scenes import generate_scene
from samtok.tokenizer.box_masks import find_masks_in_boxes


def test_the_thing_in_a_box_is_found():
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    found_iou, box_iou = [], []
    for index in range(8):
        scene = generate_scene(index, split="test", seed=0)
        masks = np.asarray(scene.masks)
        masks = masks[masks.any(axis=(1, 2))]
        boxes = compute_boxes(masks).astype(int)
        filled = np.zeros_like(masks)
        for row, (x0, y0, x1, y1) in zip(filled, boxes, strict=True):
            row[y0 : y1 + 1, x0 : x1 + 1] = True
        found = find_masks_in_boxes(tokenizer, tokenizer.embed(scene.image), boxes)
        assert not (found & ~filled).any()
        found_iou += mask_iou(found, masks).tolist()
        box_iou += mask_iou(filled, masks).tolist()
    assert np.mean(found_iou) > 0.8
    assert np.mean(found_iou) > np.mean(box_iou) + 0.2


def test_a_box_in_which_nothing_is_found_is_the_region(monkeypatch, small_tokenizer_folder):
    tokenizer = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")
    monkeypatch.setattr(tokenizer, "decode", lambda *_: torch.zeros(1, 20, 30, dtype=torch.bool))
    embeddings = tokenizer.embed(np.zeros((20, 30, 3), np.uint8))
    (found,) = find_masks_in_boxes(tokenizer, embeddings, np.array([[2, 3, 4, 8]]))
    assert found.sum() == 3 * 6
    assert found[3:9, 2:5].all()
