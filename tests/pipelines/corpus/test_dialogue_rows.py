"""One image's texts and words → conversations: hand-made rows."""

import pyarrow as pa
import pytest

from pipelines import columns
from pipelines.corpus.dialogue_rows import (
    ImageDialogues,
    Mixture,
    build_conversations_block,
    write_dialogues,
)
from samtok.errors import InputError
from samtok.tasks import TASK_NAMES, DialogueOptions


def mixture(**changes):
    settings = {
        "weights": dict.fromkeys(TASK_NAMES, 1.0),
        "options": DialogueOptions(json_share=0.0),
        "seed": 0,
        "min_reconstruction_iou": None,
        "drop_colliding": False,
    }
    return Mixture(**{**settings, **changes})


def word_row(mask_id, x, *, words=None, iou=0.9, collides=False):
    return {
        "mask_id": mask_id,
        "category": "cup",
        "words": words or f"<|mt_start|><|mt_000{mask_id}|><|mt_0300|><|mt_end|>",
        "bbox": [x, 0.0, x + 4.0, 9.0],
        "reconstruction_iou": iou,
        "collides": collides,
    }


def expression(text, *mask_ids):
    span = {"start": 0, "end": len(text), "mask_ids": list(mask_ids), "role": "phrase"}
    return {"kind": "referring", "text": text, "mask_ids": list(mask_ids), "spans": [span]}


@pytest.fixture
def image():
    return {
        "image_id": "7",
        "image_uri": "/images/7.png",
        "image": b"png",
        "height": 20,
        "width": 30,
        "source": "coco",
        "texts": [
            expression("the cups", "1", "2", "3"),
            expression("the left cup", "1"),
            expression("the dog"),
            expression("the cup without words", "9"),
            {"kind": "poem", "text": "o cup", "mask_ids": [], "spans": []},
        ],
    }


WORDS = [word_row("1", 20.0), word_row("2", 3.0), word_row("3", 11.0, iou=0.4, collides=True)]
ONLY_REFERRING = {"referring_segmentation": 1.0}


def answers(made):
    return {row["conversation_id"]: row["messages"][-1]["content"] for row in made.conversations}


def test_rows_of_conversations(image):
    made = write_dialogues(image, WORDS, mixture(weights=ONLY_REFERRING))
    one, two, three = (row["words"] for row in WORDS)
    assert answers(made) == {
        "7/referring_segmentation/0/0": two + three + one,
        "7/referring_segmentation/1/0": one,
        "7/referring_segmentation/2/0": "No target.",
    }
    first = made.conversations[0]
    assert set(first) == set(columns.CONVERSATIONS.names)
    assert first["task"] == "referring_segmentation"
    assert first["target_words"] == (two, three, one)
    assert first["mask_ids"] == ("2", "3", "1")
    for name in ("image_id", "image_uri", "image", "height", "width", "source"):
        assert first[name] == image[name]
    (asked, _) = first["messages"]
    assert asked["role"] == "user"
    assert "the cups" in asked["content"]


def test_what_is_left_out_is_said(image):
    made = write_dialogues(image, WORDS, mixture())
    assert [row.reason for row in made.quarantined] == ["mask_words_missing", "text_kind_unknown"]
    assert "text 3, referring 'the cup without words'" in made.quarantined[0].detail
    assert {(row.source, row.image_id, row.stage) for row in made.quarantined} == {
        ("coco", "7", "dialogues")
    }
    assert made.num_used + made.num_undrawn + made.num_quarantined == len(image["texts"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_reconstruction_iou": 0.5}, "mask_iou_low"),
        ({"drop_colliding": True}, "mask_collides"),
    ],
)
def test_texts_with_unfit_masks_are_left_out(changes, reason, image):
    made = write_dialogues(image, WORDS, mixture(weights=ONLY_REFERRING, **changes))
    assert list(answers(made)) == [
        "7/referring_segmentation/1/0",
        "7/referring_segmentation/2/0",
    ]
    assert made.quarantined[0].reason == reason
    unmeasured = [word_row("1", 20.0, iou=None)]
    left = write_dialogues(image, unmeasured, mixture(min_reconstruction_iou=0.0))
    assert "mask_iou_low" in [row.reason for row in left.quarantined]


def test_texts_that_are_not_drawn_are_counted(image):
    made = write_dialogues(image, WORDS, mixture(weights={"referring_segmentation": 0.0}))
    assert made.conversations == []
    assert (made.num_used, made.num_undrawn, made.num_quarantined) == (0, 3, 2)


def test_an_image_without_texts_or_words(image):
    made = write_dialogues({**image, "texts": None}, [], mixture())
    assert made == ImageDialogues(image_id="7")


def test_blocks_fit_the_schema_and_add_up(image):
    error = InputError("row_unreadable", "gone")
    images = [
        write_dialogues(image, WORDS, mixture()),
        ImageDialogues.reject(error, source="coco", image_id="8", num_texts=3),
        ImageDialogues.reject(error, source="coco", image_id="9", num_texts=0),
    ]
    block = build_conversations_block(images)
    assert block.image_ids == ["7", "8", "9"]
    assert block.table.schema.equals(columns.CONVERSATIONS)
    assert pa.Table.from_pylist(block.quarantined, schema=columns.QUARANTINE).num_rows == 2 + 3 + 1
    figures = block.figures
    assert figures.num_conversations == {"region_captioning": 1, "referring_segmentation": 3}
    assert figures.num_items == 4
    assert (figures.num_texts, figures.num_undrawn_texts, figures.num_quarantined_texts) == (
        3,
        0,
        5,
    )
    assert (figures.num_images, figures.num_rejected_images) == (3, 2)
    assert figures.num_bytes == 4 * len(b"png")
