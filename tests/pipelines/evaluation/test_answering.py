"""Answering and measuring, with a model whose answers are known."""

import numpy as np
import pytest

from pipelines.evaluation.answering import answer_images, list_true_masks
from pipelines.evaluation.conversations import open_source
from samtok import SAMTok
from samtok.errors import InputError
from samtok.metrics.segmentation import mask_iou
from samtok.mllm.prompts import to_chat
from samtok.words import format_codes
from tests.pipelines.evaluation.dialogue_files import write_dialogues


@pytest.fixture(scope="module")
def tokenizer(small_tokenizer_folder):
    return SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")


@pytest.fixture(scope="module")
def image_rows(scenes, tokenizer, tmp_path_factory):
    location, _ = write_dialogues(
        tmp_path_factory.mktemp("made"), scenes[:3], tokenizer, rows_per_group=1000
    )
    source = open_source(
        str(location), None, tokenizer_fingerprint=tokenizer.fingerprint, tasks=(), limit=None
    )
    return [row for block in source.list_blocks().blocks for row in source.read(block)]


class Parrot:
    """Knows a right answer to every question; remembers what it was asked."""

    def __init__(self, rows):
        self.asked, self.images, self.sizes = [], [], []
        self._answers = {}
        for row in rows:
            for conversation in row["conversations"]:
                texts = [m["content"] for m in conversation["messages"]]
                for turn in range(0, len(texts), 2):
                    self._answers[tuple(texts[: turn + 1])] = texts[turn + 1]

    def __call__(self, images, messages):
        self.asked += messages
        self.images += images
        self.sizes.append(len(messages))
        return [self._answers[tuple(m.content for m in turns)] for turns in messages]


def answer(rows, ask, tokenizer, **options):
    return answer_images(rows, ask, tokenizer, **{"blank_image": False, "batch_size": 4, **options})


def test_the_right_words_give_what_the_tokenizer_keeps(image_rows, tokenizer, scenes):
    parrot = Parrot(image_rows)
    dialogues = answer(image_rows, parrot, tokenizer)
    assert max(parrot.sizes) == 4
    by_id = {scene.scene_id: scene for scene in scenes}
    single = [
        d
        for d in dialogues
        if d.row["task"] == "referring_segmentation"
        and len(d.row["mask_ids"]) == 1
        and d.answers == d.targets  # no other conversation has the same question
    ]
    assert len(single) > 3
    for dialogue in single:
        scene = by_id[dialogue.image_row["image_id"]]
        names = [item.mask_id for item in scene.objects]
        mask = scene.masks[names.index(dialogue.row["mask_ids"][0])][None]
        decoded = tokenizer.decode(scene.image, tokenizer.encode(scene.image, mask)).numpy()
        (overlap,) = dialogue.measures.overlaps
        assert overlap.target_area == mask.sum()
        assert overlap.iou == pytest.approx(mask_iou(decoded, mask)[0])


def test_later_rounds_hear_the_models_own_answers(image_rows, tokenizer):
    heard = []

    def ask(images, messages):
        heard.extend(messages)
        return [f"round {len(turns)} <|im_end|>" for turns in messages]

    dialogues = answer(image_rows, ask, tokenizer)
    rounds = next(d for d in dialogues if d.row["task"] == "interactive_segmentation")
    assert rounds.answers[:2] == ["round 1 <|im_end|>", "round 3 <|im_end|>"]
    assert len(rounds.measures.overlaps) == len(rounds.questions)
    second = next(
        turns for turns in heard if len(turns) == 3 and turns[2].content == rounds.questions[1]
    )
    # What would end the turn is not given back.
    assert [m.content for m in second[:2]] == [rounds.questions[0], "round 1 "]


def test_a_blanked_image_is_grey_to_the_model_and_true_to_the_tokenizer(image_rows, tokenizer):
    seen, blind = Parrot(image_rows), Parrot(image_rows)
    with_eyes = answer(image_rows, seen, tokenizer)
    without = answer(image_rows, blind, tokenizer, blank_image=True)
    assert all(image.std() > 0 for image in seen.images)
    assert all((image == 128).all() for image in blind.images)
    assert [d.measures for d in without] == [d.measures for d in with_eyes]


def test_an_image_that_is_gone_is_an_error_of_its_conversations_alone(image_rows, tokenizer):
    gone = {**image_rows[0], "image_uri": "/nowhere/x.png"}
    dialogues = answer([gone, image_rows[1]], Parrot(image_rows), tokenizer)
    first, second = (len(row["conversations"]) for row in (gone, image_rows[1]))
    assert [d.error.reason for d in dialogues[:first]] == ["image_missing"] * first
    assert all(d.error is None and d.measures is not None for d in dialogues[first:])
    assert len(dialogues) == first + second


def test_what_cannot_be_asked_is_an_error_of_its_conversation_alone(image_rows, tokenizer):
    row = image_rows[0]
    asked = [{**c, "conversation_id": str(n)} for n, c in enumerate(row["conversations"][:3])]
    asked[1]["messages"] = [
        {"role": "user", "content": "what? <|im_end|>"},
        {"role": "assistant", "content": "no"},
    ]

    def ask(images, messages):
        for turns in messages:
            to_chat(turns)  # as every prompt is
        return ["an answer"] * len(images)

    dialogues = answer([{**row, "conversations": asked}], ask, tokenizer)
    reasons = [d.error and d.error.reason for d in dialogues]
    assert reasons == [None, "control_word_in_text", None]
    assert dialogues[1].answers == []
    assert all(len(d.answers) == len(d.questions) for d in dialogues[::2])


def conversation(words, mask_ids, text):
    return {
        "conversation_id": "c",
        "target_words": words,
        "mask_ids": mask_ids,
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": text},
            {"role": "user", "content": "then"},
            {"role": "assistant", "content": "".join(words)},
        ],
    }


def test_masks_of_the_same_words_are_told_apart_by_id_where_there_is_one(scenes):
    from samtok.masks import encode_rle

    a, b = format_codes([(1, 2), (3, 4)])
    masks = np.zeros((3, 4, 4), dtype=bool)
    masks[0, 0], masks[1, 1], masks[2, 2] = True, True, True
    image_row = {
        "image_id": "i",
        "masks": [
            {"mask_id": name, "words": words, "rle": encode_rle(mask)}
            for name, words, mask in zip("xyz", (a, a, b), masks, strict=True)
        ],
    }
    by_id = list_true_masks(conversation([a], ["y"], b), image_row)
    assert np.array_equal(by_id[1, 2], masks[1])
    assert np.array_equal(by_id[3, 4], masks[2])
    # The first round's answer has words alone, and they mean both.
    merged = list_true_masks(conversation([b], ["z"], a), image_row)
    assert np.array_equal(merged[1, 2], masks[0] | masks[1])
    with pytest.raises(InputError, match="mask_words_missing"):
        list_true_masks(conversation([a], ["x"], format_codes([(9, 9)])[0]), image_row)
