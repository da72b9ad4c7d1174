"""The table of expected IoU that lies beside the packaged tokenizer."""

import numpy as np

from samtok import SAMTok
from samtok.metrics.segmentation import pairwise_iou
from samtok.rewards import ExpectedIou
from samtok.rewards.similarity import EXPECTED_IOU_FILE
from samtok.scenes import generate_scene
from samtok.tokenizer.checkpoint import find_folder


def test_it_foretells_overlaps_on_scenes_that_it_has_not_seen():
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    folder = find_folder("tiny", (EXPECTED_IOU_FILE,))
    expected = ExpectedIou.load(folder, fingerprint=tokenizer.fingerprint)
    scenes = [generate_scene(index, split="test") for index in range(12)]
    codes = [tokenizer.encode(scene.image, scene.masks) for scene in scenes]
    everywhere = np.concatenate([each.numpy() for each in codes])
    foretold, seen = [], []
    for scene, own in zip(scenes, codes, strict=True):
        true = tokenizer.decode(scene.image, own).numpy()
        ious = pairwise_iou(tokenizer.decode(scene.image, everywhere).numpy(), true)
        differ = (everywhere[:, None] != own.numpy()[None]).any(axis=2)
        foretold.append(expected(everywhere, own.numpy())[differ])
        seen.append(ious[differ])
    assert np.corrcoef(np.concatenate(foretold), np.concatenate(seen))[0, 1] > 0.6
