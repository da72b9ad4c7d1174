"""Conversations listed and read back by image, with the true masks behind their words."""

import json
from collections import Counter

import numpy as np
import pytest

from pipelines.evaluation.conversations import open_source
from samtok import SAMTok
from samtok.errors import ConfigError
from samtok.masks import decode_rle
from tests.pipelines.evaluation.dialogue_files import write_dialogues


@pytest.fixture(scope="module")
def tokenizer(small_tokenizer_folder):
    return SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")


@pytest.fixture(scope="module")
def written(scenes, tokenizer, tmp_path_factory):
    return write_dialogues(tmp_path_factory.mktemp("made"), scenes, tokenizer)


@pytest.fixture
def open_it(written, tokenizer):
    def open_it(words=None, tasks=(), limit=None):
        return open_source(
            str(written[0]),
            words,
            tokenizer_fingerprint=tokenizer.fingerprint,
            tasks=tasks,
            limit=limit,
        )

    return open_it


def read_all(source):
    return [row for block in source.list_blocks().blocks for row in source.read(block)]


def test_every_conversation_is_read_once_with_its_image(open_it, written):
    source = open_it()
    found = [
        {**conversation, **{k: row[k] for k in ("image_id", "image_uri", "height", "width")}}
        for row in read_all(source)
        for conversation in row["conversations"]
    ]
    wanted = {row["conversation_id"]: row for row in written[1]}
    assert len(found) == len(wanted)
    for row in found:
        row.pop("reference")
        assert row == {key: wanted[row["conversation_id"]][key] for key in row}
    counts = source.list_blocks().num_conversations
    assert counts == dict(sorted(Counter(row["task"] for row in written[1]).items()))


def test_masks_are_those_of_the_image(open_it, scenes):
    by_id = {scene.scene_id: scene for scene in scenes}
    for row in read_all(open_it()):
        scene = by_id[row["image_id"]]
        masks = {mask["mask_id"]: decode_rle(mask["rle"]) for mask in row["masks"]}
        assert list(masks) == [item.mask_id for item in scene.objects]
        assert np.array_equal(np.stack(list(masks.values())), scene.masks)


def test_tasks_and_limit_choose(open_it):
    tasks = ("referring_segmentation", "scene_graph")
    source = open_it(tasks=tasks, limit=3)
    chosen = [c["task"] for row in read_all(source) for c in row["conversations"]]
    assert Counter(chosen) == {task: 3 for task in tasks}
    assert source.list_blocks().num_conversations == dict(Counter(chosen))


def test_a_reference_finds_its_conversation_again(open_it):
    source = open_it(limit=2)
    for row in read_all(source):
        for conversation in row["conversations"]:
            (again,) = source.read(conversation["reference"])
            assert again["conversations"] == [conversation]
            assert again["masks"] == row["masks"]


def test_what_cannot_be_asked_is_refused(open_it, written, tokenizer, scenes, tmp_path):
    with pytest.raises(ConfigError, match="no conversations of general_vqa"):
        open_it(tasks=("general_vqa",)).list_blocks()
    with pytest.raises(ConfigError, match="another tokenizer"):
        open_source(str(written[0]), None, tokenizer_fingerprint="0", tasks=(), limit=None)
    other, _ = write_dialogues(tmp_path, scenes[:1], tokenizer)
    with pytest.raises(ConfigError, match="other mask words"):
        open_it(words=str(other.parent / "words"))


def test_the_source_travels_to_workers(open_it):
    import pickle

    source = open_it()
    copied = pickle.loads(pickle.dumps(source))
    assert copied == source
    assert json.loads(json.dumps(source.identity())) == source.identity()
