"""Batches of scenes: a function of their number."""

import pytest

from samtok.scenes import SceneConfig
from samtok.scenes.training_batches import SceneBatches


def make_batches(**more):
    known = {"images_per_batch": 3, "masks_per_image": 4, "image_size": 128, **more}
    return SceneBatches(5, **known)


def test_the_same_number_gives_the_same_batch_another_a_different_one():
    first, again = make_batches()[2], make_batches()[2]
    assert first.images.equal(again.images)
    assert first.boxes.equal(again.boxes)
    assert not make_batches()[3].images.equal(first.images)


def test_no_scene_gives_more_masks_than_asked():
    crowded = SceneConfig(empty_share=0.0, cluttered_share=1.0)
    batch = make_batches(config=crowded)[0]
    assert len(batch.images) == 3
    assert [len(masks) for masks in batch.targets] == [4, 4, 4]


def test_a_batch_beyond_the_end_is_refused():
    with pytest.raises(IndexError, match="batch 5 of 5"):
        make_batches()[5]
