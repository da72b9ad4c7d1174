import numpy as np
import pytest

from samtok import SAMTok
from samtok.metrics.segmentation import measure_overlap
from samtok.scenes import generate_scene
from samtok.tokenizer.point_masks import find_mask_at_points


@pytest.fixture(scope="module")
def tokenizer():
    return SAMTok.from_pretrained("tiny", device="cpu")


def find_middle(mask):
    """The pixel of a mask nearest to its middle; x and y."""
    pixels = np.argwhere(mask)
    return pixels[np.linalg.norm(pixels - pixels.mean(0), axis=1).argmin()][::-1]


def test_the_thing_at_a_point_is_found(tokenizer):
    iou = []
    for index in range(6):
        scene = generate_scene(index, split="test", seed=0)
        embeddings = tokenizer.embed(scene.image)
        for mask in (mask for mask in scene.masks if mask.sum() > 400):
            point = find_middle(mask)
            found = find_mask_at_points(tokenizer, embeddings, point[None], np.array([True]))
            iou.append(measure_overlap(found, mask).iou)
    assert np.mean(iou) > 0.65


def test_points_of_one_thing_leave_its_neighbour_out(tokenizer):
    image = np.full((100, 200, 3), 200, np.uint8)
    image[30:70, 20:60] = (200, 30, 30)
    image[30:70, 140:180] = (30, 30, 200)
    embeddings = tokenizer.embed(image)
    points = np.array([[40, 50], [160, 50]])
    for inside, (x0, x1) in (([True, False], (20, 60)), ([False, True], (140, 180))):
        found = find_mask_at_points(tokenizer, embeddings, points, np.array(inside))
        true = np.zeros((100, 200), bool)
        true[30:70, x0:x1] = True
        assert measure_overlap(found, true).iou > 0.7
