"""From conversations to micro-batches: each once, none that cannot be learned from."""

import dataclasses
import pickle
from collections import Counter
from itertools import islice, pairwise

import pytest

from pipelines.training.conversations import open_training_conversations
from pipelines.training.encoded_rows import from_row, to_row
from pipelines.training.plan import Mixture, plan_windows
from pipelines.training.sft_loading import SftLoadStage, balance
from pipelines.training.stream import _to_table
from samtok.errors import ConfigError
from samtok.mllm.vocabulary import add_mask_words
from samtok.words import format_codes
from tests.pipelines.training.small_conversations import conversation_row, write_conversations
from tests.small_mllm import build_small_mllm

SWAPPED = "<|mt_start|><|mt_0300|><|mt_0001|><|mt_end|>"
"""The second book's word first."""


@pytest.fixture(scope="module")
def processor():
    processor = build_small_mllm("qwen3_vl").processor
    add_mask_words(processor.tokenizer)
    return processor


@pytest.fixture(scope="module")
def make_stage(processor, tmp_path_factory):
    def make(rows, **changes):
        folder = write_conversations(tmp_path_factory.mktemp("talks") / "out", rows, "f")
        corpus = open_training_conversations(str(folder), "f")
        mixture = Mixture(
            starts=(corpus.starts,), weights=(1.0,), num_lanes=1, images_per_window=len(rows)
        )
        stage = SftLoadStage(
            corpora=(corpus,),
            mixture=mixture,
            images_per_lane=4,
            processor=pickle.dumps(processor),
            codebook_size=256,
            max_length=4096,
            batching="padded",
        )
        return dataclasses.replace(stage, **changes)

    return make


def load(stage, number=0):
    window = next(islice(plan_windows(stage.mixture, 0), number, None))
    return [row for table in stage(_to_table([window])) for row in table.to_pylist()]


def examples_of(rows):
    return [[from_row(encoded) for encoded in row["conversations"]] for row in rows]


def answers_of(batches, processor):
    """Answers of all conversations, as a multiset."""
    return Counter(
        processor.tokenizer.decode(example.labels[example.labels != -100])
        for batch in batches
        for example in batch
    )


@pytest.mark.parametrize("batching", ["padded", "grouped", "packed"])
def test_a_window_gives_every_conversation_once(make_stage, processor, batching):
    rows = [conversation_row(index) for index in range(24)]
    batches = examples_of(load(make_stage(rows, batching=batching)))
    assert len(batches) == 6
    expected = Counter(
        "".join(f"{m['content']}<|im_end|>" for m in row["messages"] if m["role"] == "assistant")
        for row in rows
    )
    assert answers_of(batches, processor) == expected


def test_grouped_conversations_are_of_about_one_length(make_stage):
    rows = [conversation_row(index) for index in range(24)]
    batches = examples_of(load(make_stage(rows, batching="grouped")))
    spans = sorted((min(map(len, batch)), max(map(len, batch))) for batch in batches)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_balanced_batches_differ_by_less_than_one_conversation(make_stage):
    rows = [conversation_row(index) for index in range(24)]
    (examples,) = examples_of(load(make_stage(rows, images_per_lane=24)))
    tokens = [sum(map(len, batch)) for batch in balance(examples, 5)]
    assert max(tokens) - min(tokens) <= max(map(len, examples))


def test_packed_conversations_about_an_image_read_it_once(make_stage, processor):
    images = [conversation_row(index // 8) for index in range(24)]
    rows = [
        conversation_row(index, **{name: image[name] for name in ("image", "image_uri", "width")})
        for index, image in enumerate(images)
    ]
    packed = examples_of(load(make_stage(rows, batching="packed", images_per_lane=12)))
    assert sum(map(len, packed)) == 3
    examples = [example for batch in packed for example in batch]
    assert [example.num_conversations for example in examples] == [8, 8, 8]
    of_each = [
        dataclasses.replace(example, labels=example.labels[example.branches == branch])
        for example in examples
        for branch in range(1, 9)
    ]
    grouped = examples_of(load(make_stage(rows, batching="grouped", images_per_lane=12)))
    assert answers_of([of_each], processor) == answers_of(grouped, processor)


def test_a_conversation_travels_unchanged(make_stage):
    (batch,) = examples_of(load(make_stage([conversation_row(1)], images_per_lane=1)))
    again = from_row(to_row(batch[0]))
    for field in dataclasses.fields(again):
        one, other = getattr(again, field.name), getattr(batch[0], field.name)
        assert one.dtype == other.dtype
        assert one.equal(other), field.name


def bad_rows():
    """Rows that cannot be learned from, by the reason that is to be given."""
    right = conversation_row(1)["messages"]
    question = {"role": "user", "content": "Segment it."}
    swapped = [question, {"role": "assistant", "content": SWAPPED}]
    endless = [question, {"role": "assistant", "content": "cup " * 5000}]
    return {
        "words_unfit": conversation_row(
            31, messages=swapped, target_words=[SWAPPED], mask_ids=["0"]
        ),
        "image_missing": conversation_row(32, image=None, image_uri="/nowhere/32.png"),
        "conversation_too_long": conversation_row(
            33, messages=endless, target_words=[], mask_ids=[]
        ),
        "conversation_malformed": conversation_row(34, messages=[*right, question]),
    }


@pytest.mark.parametrize("reason", bad_rows())
def test_what_cannot_be_learned_from_is_told_once(make_stage, reason):
    bad = bad_rows()[reason]
    rows = [*(conversation_row(index) for index in range(11)), bad]
    stage = make_stage(rows)
    loaded = load(stage)
    rejected = [rejected for row in loaded for rejected in row["rejected"]]
    assert [(r["image_id"], r["stage"]) for r in rejected] == [(bad["image_id"], "train_sft")]
    assert rejected[0]["reason"] == reason, rejected
    assert rejected[0]["detail"].startswith(f"{bad['conversation_id']}: ")
    assert sum(len(row["conversations"]) for row in loaded) == 11
    assert not any(row["rejected"] for row in load(stage, number=1)), "of the next epoch"


def test_codes_that_the_tokenizer_has_not_are_rejected(make_stage):
    words = format_codes([(10, 63), (64, 0)])
    rows = [
        conversation_row(
            index,
            messages=[
                {"role": "user", "content": "Segment it."},
                {"role": "assistant", "content": words[index % 2]},
            ],
        )
        for index in range(8)
    ]
    loaded = load(make_stage(rows, codebook_size=64))
    rejected = [rejected["image_id"] for row in loaded for rejected in row["rejected"]]
    assert sorted(rejected) == ["noise-1", "noise-3", "noise-5", "noise-7"]


def test_nothing_to_learn_from_stops_with_the_reason(make_stage):
    rows = [conversation_row(index, image=None) for index in range(8)]
    with pytest.raises(ConfigError, match="only 0 of 8 neighbouring"):
        load(make_stage(rows))
