"""Questions point at the image tokens that their things lie on."""

import dataclasses

import numpy as np
import pytest
import torch

from samtok.mllm.collate import collate, encode_example
from samtok.mllm.pretraining.batches import Example, converse
from samtok.mllm.pretraining.lessons import Lesson
from samtok.mllm.pretraining.pointing import PointingHead, make_pointing_targets
from samtok.mllm.tiny import build_tiny_mllm
from samtok.scenes import generate_scene

LESSONS = (
    Lesson("Find the square.", "[00 00 50 50]", ("0",), ("0",)),
    Lesson("Describe the picture.", "Nothing much.", None),
    Lesson("Find the moon.", "Nowhere.", ()),
    Lesson("Find all.", "[00 00 50 50] [50 00 99 99]", ("0", "1"), ("0", "1")),
)


@pytest.fixture(scope="module")
def scene():
    """48 x 32 pixels, 2 x 3 image tokens: a thing on four of them, three quarters of it on one."""
    scene = generate_scene(3)
    masks = np.zeros((2, 32, 48), bool)
    masks[0, 8:24, 4:36] = True
    masks[1, 16:32, 40:48] = True
    first, second = scene.objects[:2]
    return dataclasses.replace(
        scene,
        image=np.zeros((32, 48, 3), np.uint8),
        masks=masks,
        objects=(
            dataclasses.replace(first, mask_id="0", box=(4, 8, 35, 23)),
            dataclasses.replace(second, mask_id="1", box=(40, 16, 47, 31)),
        ),
    )


@pytest.fixture(scope="module")
def batch(scene):
    processor = build_tiny_mllm().processor
    encoded = encode_example(Example(converse(scene, LESSONS), scene.image), processor, 999)
    return collate([encoded, encoded], pad_token_id=0)


@pytest.fixture(scope="module")
def box_token_id():
    return build_tiny_mllm().tokenizer.convert_tokens_to_ids("[")


def test_targets_lie_where_their_pixels_do(scene, batch, box_token_id):
    targets = make_pointing_targets(
        [scene, scene], [LESSONS, LESSONS], batch["labels"], box_token_id=box_token_id
    )

    first = np.array([[12 * 8, 16 * 8, 4 * 8], [12 * 8, 16 * 8, 4 * 8]])
    second = np.array([[0, 0, 0], [0, 0, 8 * 16]])
    on_first, on_second, on_both = (
        [*(counts / counts.sum()).ravel(), 0] for counts in (first, second, first + second)
    )
    nowhere = [0, 0, 0, 0, 0, 0, 1]
    expected = [on_first, on_first, nowhere, on_both, on_first, on_second]
    assert targets.rows.tolist() == [0] * 6 + [1] * 6
    assert targets.shares.numpy() == pytest.approx(np.array(expected * 2))
    first_box, second_box = (4 / 48, 8 / 32, 36 / 48, 24 / 32), (40 / 48, 16 / 32, 1, 1)
    assert targets.boxes[[0, 1, 4, 5]].numpy() == pytest.approx(
        np.array([first_box, first_box, first_box, second_box])
    )
    assert targets.boxes[2:4].isnan().all()


def test_the_states_from_which_answers_and_boxes_begin_point(scene, batch, box_token_id):
    targets = make_pointing_targets(
        [scene, scene], [LESSONS, LESSONS], batch["labels"], box_token_id=box_token_id
    )
    decode = build_tiny_mllm().tokenizer.decode
    around = [
        (decode(ids[: place + 1]), decode(ids[place + 1 :]))
        for ids, place in zip(batch["input_ids"][targets.rows], targets.places, strict=True)
    ]
    ends = ["assistant\n", "assistant\n[", "assistant\n", "assistant\n", "\n[", "50] ["] * 2
    begins = ["[00", "00 00 50 50]", "Nowhere", "[00", "00 00 50 50] [", "50 00 99 99]"] * 2
    for (before, after), end, begin in zip(around, ends, begins, strict=True):
        assert before.endswith(end)
        assert after.startswith(begin)


def test_questions_that_were_cut_off_do_not_point(scene, batch, box_token_id):
    labels = batch["labels"][:1]
    whole = make_pointing_targets([scene], [LESSONS], labels, box_token_id=box_token_id)
    cut = make_pointing_targets(
        [scene], [LESSONS], labels[:, : int(whole.places[2])], box_token_id=box_token_id
    )
    assert cut.places.tolist() == whole.places[:2].tolist()
    none = make_pointing_targets([scene], [LESSONS], labels[:, :20], box_token_id=box_token_id)
    head = PointingHead(8)
    is_image = torch.arange(20)[None] < 6
    states = torch.randn(2, 1, 20, 8)
    assert all(value == 0 for value in head(*states, is_image, none).values())


def test_the_head_learns_to_find_what_is_asked(scene, batch, box_token_id):
    """Each image token has a direction of its own, and a question that of what it is about."""
    torch.manual_seed(0)
    targets = make_pointing_targets(
        [scene], [LESSONS[:1]], batch["labels"][:1], box_token_id=box_token_id
    )
    states = torch.zeros(1, batch["labels"].shape[1], 8)
    states[0, :7] = torch.eye(8)[:7]
    states[0, targets.places] = torch.eye(8)[7]
    is_image = torch.arange(states.shape[1])[None] < 6
    head = PointingHead(8)
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        figures = head(states, states, is_image, targets)
        (figures["pointing"] + figures["pointed_box"]).backward()
        optimizer.step()
    shares = targets.shares[0]
    entropy = -torch.xlogy(shares, shares).sum()
    assert figures["pointing"].item() == pytest.approx(entropy.item(), abs=0.02)
    assert figures["pointed_box"].item() == pytest.approx(0, abs=0.02)
    assert figures["pointed_right"] == 1
