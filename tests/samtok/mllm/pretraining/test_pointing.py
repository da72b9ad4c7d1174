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
    Lesson("Find the square.", "[00 00 50 50]", ("0",)),
    Lesson("Describe the picture.", "Nothing much.", None),
    Lesson("Find the moon.", "Nowhere.", ()),
    Lesson("Find all.", "[00 00 50 50] [50 00 99 99]", ("0", "1")),
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
            dataclasses.replace(first, mask_id="0"),
            dataclasses.replace(second, mask_id="1"),
        ),
    )


@pytest.fixture(scope="module")
def batch(scene):
    processor = build_tiny_mllm().processor
    encoded = encode_example(Example(converse(scene, LESSONS), scene.image), processor, 999)
    return collate([encoded, encoded], pad_token_id=0)


def test_targets_lie_where_their_pixels_do(scene, batch):
    targets = make_pointing_targets([scene, scene], [LESSONS, LESSONS], batch["labels"])

    assert targets.rows.tolist() == [0, 0, 0, 1, 1, 1]
    square = np.array([[12 * 8, 16 * 8, 4 * 8], [12 * 8, 16 * 8, 4 * 8]])
    both = square + np.array([[0, 0, 0], [0, 0, 8 * 16]])
    expected = [
        [*(square / square.sum()).ravel(), 0],
        [0, 0, 0, 0, 0, 0, 1],
        [*(both / both.sum()).ravel(), 0],
    ]
    assert targets.shares.numpy() == pytest.approx(np.array(expected * 2))


def test_the_state_before_each_answer_points(scene, batch):
    targets = make_pointing_targets([scene, scene], [LESSONS, LESSONS], batch["labels"])
    decode = build_tiny_mllm().tokenizer.decode
    for row, place, answer in zip(
        targets.rows.tolist(),
        targets.places.tolist(),
        [lesson.answer for lesson in LESSONS if lesson.mask_ids is not None] * 2,
        strict=True,
    ):
        ids = batch["input_ids"][row]
        assert decode(ids[: place + 1]).endswith("<|im_start|>assistant\n")
        assert decode(ids[place + 1 :]).startswith(f"{answer}<|im_end|>")


def test_questions_that_were_cut_off_do_not_point(scene, batch):
    whole = make_pointing_targets([scene], [LESSONS], batch["labels"][:1])
    cut = make_pointing_targets([scene], [LESSONS], batch["labels"][:1, : int(whole.places[1])])
    assert cut.places.tolist() == whole.places[:1].tolist()
    none = make_pointing_targets([scene], [LESSONS], batch["labels"][:1, :20])
    head = PointingHead(8)
    is_image = torch.arange(20)[None] < 6
    assert head(torch.randn(1, 20, 8), is_image, none)["pointing"] == 0


def test_the_head_learns_to_find_what_is_asked(scene, batch):
    """Each image token has a direction of its own, and a question that of what it is about."""
    torch.manual_seed(0)
    targets = make_pointing_targets([scene], [LESSONS[:1]], batch["labels"][:1])
    states = torch.zeros(1, batch["labels"].shape[1], 8)
    states[0, :7] = torch.eye(8)[:7]
    states[0, targets.places[0]] = torch.eye(8)[7]
    is_image = torch.arange(states.shape[1])[None] < 6
    head = PointingHead(8)
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        figures = head(states, is_image, targets)
        figures["pointing"].backward()
        optimizer.step()
    shares = targets.shares[0]
    entropy = -torch.xlogy(shares, shares).sum()
    assert figures["pointing"].item() == pytest.approx(entropy.item(), abs=0.02)
    assert figures["pointed_right"] == 1
