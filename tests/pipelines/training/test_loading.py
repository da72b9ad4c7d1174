"""From windows to micro-batches: the right images with the right masks, whoever loads them."""

import dataclasses
from itertools import islice

import numpy as np
import pytest

from pipelines.training.corpora import SceneCorpus
from pipelines.training.loading import LoadStage
from pipelines.training.plan import Mixture, Run, Window, plan_windows
from pipelines.training.stream import _to_table
from pipelines.training.unpacking import unpack_batch
from pipelines.training.window_stage import TICKETS
from samtok.errors import ConfigError
from samtok.scenes import generate_scene

STAGE = LoadStage(
    corpora=(SceneCorpus(num_images=200),),
    mixture=Mixture(
        starts=(range(201),), weights=(1.0,), num_lanes=2, images_per_window=16, seed=3
    ),
    images_per_lane=4,
    masks_per_image=3,
    image_size=64,
)


def load(stage, *windows):
    rows = [row for table in stage(_to_table(windows)) for row in table.to_pylist()]
    return [unpack_batch(row, stage.image_size, ()) for row in rows]


def window_of(lane, number=0):
    return next(islice(plan_windows(STAGE.mixture, lane), number, None))


def test_a_window_gives_all_its_images_with_masks_once():
    window = window_of(0)
    indexes = [i for run in window.runs for i in range(run.start, run.stop)]
    scenes = [s for i in indexes if len((s := generate_scene(i)).masks)]
    batches = load(STAGE, window)
    assert len(batches) == 4
    assert sum(batch.num_images for batch in batches) == len(scenes)
    # Every scene's kept masks are among its own: look each target up by its pixels.
    known = {mask.tobytes() for scene in scenes for mask in scene.masks}
    for batch in batches:
        for target in batch.targets:
            assert 1 <= len(target) <= 3
            assert all(mask.numpy().astype(bool).tobytes() in known for mask in target)


def test_micro_batches_have_as_many_images_and_about_as_many_masks():
    stage = dataclasses.replace(
        STAGE,
        mixture=dataclasses.replace(STAGE.mixture, images_per_window=128),
        images_per_lane=8,
        masks_per_image=8,
    )
    batches = load(stage, next(plan_windows(stage.mixture, 0)))
    images = [batch.num_images for batch in batches]
    assert max(images) - min(images) <= 1
    masks = [batch.num_masks for batch in batches]
    assert max(masks) - min(masks) <= 8  # at most one image's


def test_lanes_loaded_together_are_as_loaded_apart():
    together = load(STAGE, window_of(0), window_of(1))
    apart = [load(STAGE, window_of(lane)) for lane in (0, 1)]
    assert len(together) == 8
    for step in range(4):
        for lane in (0, 1):
            one, other = together[2 * step + lane], apart[lane][step]
            assert np.array_equal(one.images, other.images)
            assert np.array_equal(one.mask_prompts, other.mask_prompts)


def test_another_epoch_draws_other_masks_of_the_same_image():
    busy = next(i for i in range(200) if len(generate_scene(i).masks) >= 8)
    stage = dataclasses.replace(
        STAGE, mixture=dataclasses.replace(STAGE.mixture, images_per_window=4)
    )
    drawn = []
    for epoch in range(4):
        runs = (Run(0, busy, busy + 1, epoch),)
        drawn.append(load(stage, Window(0, 0, runs))[0].boxes.numpy().tobytes())
    assert len(set(drawn)) > 1


def test_windows_without_enough_masks_say_what_to_do():
    empty = [i for i in range(200) if not len(generate_scene(i).masks)]
    assert empty, "these scenes have some without objects"
    runs = tuple(Run(0, i, i + 1, 0) for i in empty[:1])
    with pytest.raises(ConfigError, match="leave images without masks out"):
        load(STAGE, Window(0, 0, runs))


def test_tickets_survive_arrow():
    window = window_of(1, number=2)
    row = _to_table((window,)).cast(TICKETS).to_pylist()[0]["windows"][0]
    assert (row["lane"], row["number"]) == (1, 2)
    assert [Run(**run) for run in row["runs"]] == list(window.runs)
