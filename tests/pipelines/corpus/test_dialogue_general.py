"""General conversations: read from either format, bad ones named."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.corpus.dialogue_general import GeneralConversations
from pipelines.corpus.dialogue_rows import Mixture
from samtok.errors import ConfigError
from samtok.tasks import DialogueOptions

TURNS = [
    {"role": "user", "content": "What is it?"},
    {"role": "assistant", "content": "A cat."},
]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((5, 8, 3), np.uint8)).save(folder / "cat.png")
    (folder / "cut.png").write_bytes((folder / "cat.png").read_bytes()[:30])
    return folder


def make_all(location, images=None, weight=1.0, limit=None):
    general = GeneralConversations(location=str(location), images=images and str(images))
    general.check()
    mixture = Mixture(
        weights={"general_vqa": weight},
        options=DialogueOptions(),
        seed=0,
        min_reconstruction_iou=None,
        drop_colliding=False,
    )
    return [
        general.make(row["image_id"], json.loads(row["payload"])["general"], mixture)
        for row in general.list_rows(limit)
    ]


def write_lines(path, rows):
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return path


def test_json_lines(images, tmp_path):
    row = {"messages": TURNS * 2, "image_uri": "cat.png", "source": "llava"}
    path = write_lines(
        tmp_path / "vqa.jsonl", [row, "", {**row, "image_uri": str(images / "cat.png")}]
    )
    first, second = make_all(path, images)
    assert first.num_used == 1
    (made,) = first.conversations
    assert made["conversation_id"] == "general_vqa/0/0"
    assert made["task"] == "general_vqa"
    assert [dict(message) for message in made["messages"]] == TURNS * 2
    assert (made["height"], made["width"]) == (5, 8)
    assert made["image_uri"] == str(images / "cat.png")
    assert made["image"] is None
    assert (made["target_words"], made["mask_ids"], made["source"]) == ((), (), "llava")
    assert second.conversations[0]["image_uri"] == str(images / "cat.png")
    assert len(make_all(path, images, limit=1)) == 1


def test_parquet_with_carried_images(images, tmp_path):
    content = (images / "cat.png").read_bytes()
    rows = [{"messages": TURNS, "image": content}, {"messages": TURNS, "image": b"none"}]
    path = tmp_path / "vqa.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1)
    first, second = make_all(path)
    (made,) = first.conversations
    assert made["image"] == content
    assert (made["height"], made["width"], made["source"]) == (5, 8, "general")
    assert second.quarantined[0].reason == "image_unreadable"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "row_unreadable"),
        ("[1]", "row_unreadable"),
        ({"image_uri": "cat.png"}, "conversation_malformed"),
        ({"messages": TURNS[::-1], "image_uri": "cat.png"}, "conversation_malformed"),
        ({"messages": TURNS[:1], "image_uri": "cat.png"}, "conversation_malformed"),
        ({"messages": [{"role": "user"}], "image_uri": "cat.png"}, "conversation_malformed"),
        ({"messages": "hello", "image_uri": "cat.png"}, "conversation_malformed"),
        ({"messages": TURNS, "image_uri": 3}, "conversation_malformed"),
        ({"messages": TURNS, "image": "text"}, "conversation_malformed"),
        (
            {
                "messages": [TURNS[0], {"role": "assistant", "content": "<|mt_start|><|mt_0001|>"}],
                "image_uri": "cat.png",
            },
            "conversation_has_masks",
        ),
        ({"messages": TURNS, "image_uri": "dog.png"}, "image_missing"),
        ({"messages": TURNS, "image_uri": "../images/cat.png"}, "image_path_unsafe"),
        ({"messages": TURNS}, "image_path_unsafe"),
        ({"messages": TURNS, "image_uri": "cut.png"}, "image_unreadable"),
    ],
)
def test_bad_rows_are_quarantined(row, reason, images, tmp_path):
    (made,) = make_all(write_lines(tmp_path / "vqa.jsonl", [row]), images)
    assert made.conversations == []
    assert [q.reason for q in made.quarantined] == [reason]
    assert (made.num_used, made.num_undrawn, made.num_quarantined) == (0, 0, 1)


def test_weights_count_here_too(images, tmp_path):
    row = {"messages": TURNS, "image_uri": "cat.png"}
    path = write_lines(tmp_path / "vqa.jsonl", [row] * 40)
    halved = make_all(path, images, weight=0.5)
    assert 10 <= sum(made.num_used for made in halved) <= 30
    assert all(made.num_used + made.num_undrawn == 1 for made in halved)
    (thrice,) = make_all(path, images, weight=3.0, limit=1)
    ids = [made["conversation_id"] for made in thrice.conversations]
    assert ids == [f"general_vqa/0/{copy}" for copy in range(3)]


def test_files_are_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.jsonl or \.parquet"):
        make_all(tmp_path / "vqa.json")
    with pytest.raises(ConfigError, match="there is no such file"):
        make_all(tmp_path / "vqa.jsonl")
    (tmp_path / "vqa.parquet").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot be read"):
        make_all(tmp_path / "vqa.parquet")
