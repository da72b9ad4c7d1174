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
            dataclasses.replace(first, mask_id="0", box=(4, 8, 35, 23)),
            dataclasses.replace(second, mask_id="1", box=(40, 16, 47, 31)),
        ),
    )


@pytest.fixture(scope="module")
def batch(scene):
    processor = build_tiny_mllm().processor
    encoded = encode_example(Example(converse(scene, LESSONS), scene.image), processor, 999)
    return collate([encoded, encoded], pad_token_id=0)


def first_of_each(targets):
    """Positions of the first state of every question."""
    begins = [0]
    for position in range(1, len(targets.rows)):
        follows = targets.places[position] == targets.places[position - 1] + 1
        if not follows or targets.rows[position] != targets.rows[position - 1]:
            begins.append(position)
    return begins


def test_targets_lie_where_their_pixels_do(scene, batch):
    targets = make_pointing_targets([scene, scene], [LESSONS, LESSONS], batch["labels"])
    first = first_of_each(targets)

    assert targets.rows[first].tolist() == [0, 0, 0, 1, 1, 1]
    square = np.array([[12 * 8, 16 * 8, 4 * 8], [12 * 8, 16 * 8, 4 * 8]])
    both = square + np.array([[0, 0, 0], [0, 0, 8 * 16]])
    expected = [
        [*(square / square.sum()).ravel(), 0],
        [0, 0, 0, 0, 0, 0, 1],
        [*(both / both.sum()).ravel(), 0],
    ]
    assert targets.shares[first].numpy() == pytest.approx(np.array(expected * 2))
    assert targets.boxes[first[0]].tolist() == pytest.approx([4 / 48, 8 / 32, 36 / 48, 24 / 32])
    assert targets.boxes[first[1:3]].isnan().all()
    assert targets.weights.sum() == pytest.approx(6)


def test_the_states_that_predict_an_answer_point(scene, batch):
    targets = make_pointing_targets([scene, scene], [LESSONS, LESSONS], batch["labels"])
    decode = build_tiny_mllm().tokenizer.decode
    first = first_of_each(targets)
    for position, answer in zip(
        first, [each.answer for each in LESSONS if each.mask_ids is not None] * 2, strict=True
    ):
        ids, place = batch["input_ids"][targets.rows[position]], int(targets.places[position])
        assert decode(ids[: place + 1]).endswith("<|im_start|>assistant\n")
        assert decode(ids[place + 1 :]).startswith(f"{answer}<|im_end|>")
    # About one thing: every token of its answer. About none or two: the first alone.
    ids = batch["input_ids"][0][targets.places[: first[1]] + 1]
    assert decode(ids) == "[00 00 50 50]<|im_end|>"
    assert first[2] - first[1] == 1


def test_questions_that_were_cut_off_do_not_point(scene, batch):
    whole = make_pointing_targets([scene], [LESSONS], batch["labels"][:1])
    one = first_of_each(whole)[1]
    cut = make_pointing_targets([scene], [LESSONS], batch["labels"][:1, : int(whole.places[one])])
    assert cut.places.tolist() == whole.places[:one].tolist()
    none = make_pointing_targets([scene], [LESSONS], batch["labels"][:1, :20])
    head = PointingHead(8)
    is_image = torch.arange(20)[None] < 6
    states = torch.randn(2, 1, 20, 8)
    assert all(value == 0 for value in head(*states, is_image, none).values())


def test_the_head_learns_to_find_what_is_asked(scene, batch):
    """Each image token has a direction of its own, and a question that of what it is about."""
    torch.manual_seed(0)
    targets = make_pointing_targets([scene], [LESSONS[:1]], batch["labels"][:1])
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
