"""Conversations about one image read it once and learn what they would learn apart."""

import dataclasses

import numpy as np
import pytest
import torch

from samtok.mllm.collate import Example, collate, encode_example, encode_image, pack
from samtok.mllm.shared_image import join, join_by_image
from samtok.tasks.conversation import Conversation, Message
from tests.small_mllm import assert_learn_the_same

SPAN = "<|mt_start|><|mt_0011|><|mt_0347|><|mt_end|>"
TALKS = (
    ("Segment the cup.", SPAN),
    ("Describe it.", "A red cup."),
    ("Segment the cup.", SPAN, f"What is {SPAN}?", "A cup, red."),
    ("Where is the dog?", "No target."),
)


def encode(mllm, image, talks=TALKS):
    """The talks, with one tensor of pixels."""
    encoded = encode_image(image, mllm.processor)
    examples = [
        Conversation(
            conversation_id=str(number),
            task="referring_segmentation",
            messages=tuple(
                Message("assistant" if turn % 2 else "user", text) for turn, text in enumerate(talk)
            ),
            target_words=(),
            mask_ids=(),
        )
        for number, talk in enumerate(talks)
    ]
    return [encode_example(Example(each, encoded), mllm.processor, 2000) for each in examples]


def join_all(mllm, encoded):
    return join(encoded, mllm.processor.image_token_id)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_loss_and_gradient_are_those_of_the_conversations_apart(small_mllm, image, attention):
    apart = encode(small_mllm, image)
    others = encode(small_mllm, np.concatenate([image, image[:, ::-1]], axis=1), TALKS[:2])
    joined = [join_all(small_mllm, apart), join_all(small_mllm, others), others[0]]
    capacity = sum(map(len, joined[:2]))
    assert_learn_the_same(
        small_mllm.model,
        attention,
        collate([*apart, *others, others[0]], pad_token_id=0),
        pack(joined, capacity=capacity, pad_token_id=0, attention=attention),
    )


def test_each_sees_the_image_and_itself_at_its_own_places(small_mllm, image):
    first, second = encode(small_mllm, image)[:2]
    joined = join_all(small_mllm, [first, second])
    ids = first.input_ids.tolist()
    common = len(ids) - ids[::-1].index(small_mllm.processor.image_token_id)

    batch = pack([joined], capacity=len(joined), pad_token_id=0)

    assert len(joined) == len(first) + len(second) - common
    assert len(batch["pixel_values"]) == len(first.pixel_values)
    sees = batch["attention_mask"][0, 0]
    end = len(first)
    assert torch.equal(sees[:end, :end], torch.ones(end, end).tril().bool())
    assert not sees[end:, common:end].any()
    assert sees[end:, :common].all()
    own = len(second) - common
    assert torch.equal(sees[end:, end:], torch.ones(own, own).tril().bool())
    places = batch["position_ids"][:, 0]
    assert places[0].tolist() == [*range(end), *range(common, len(second))]
    assert torch.equal(places[1:, :end], first.position_ids)
    assert torch.equal(places[1:, end:], second.position_ids[:, common:])


def test_every_conversation_is_in_one_sequence_within_the_limits(small_mllm, image):
    longest = encode(small_mllm, image) * 5
    alone = encode(small_mllm, image.copy())[:1]
    capacity = max(map(len, longest)) + 40
    token = small_mllm.processor.image_token_id

    by_tokens = join_by_image(
        longest + alone, image_token_id=token, capacity=capacity, max_conversations=99
    )
    by_number = join_by_image(
        longest + alone, image_token_id=token, capacity=9999, max_conversations=3
    )

    for joined in (by_tokens, by_number):
        assert sum(each.num_conversations for each in joined) == 21
        answers = [each.labels[each.labels != -100] for each in joined]
        apart = [each.labels[each.labels != -100] for each in longest + alone]
        assert torch.equal(torch.cat(answers), torch.cat(apart))
        assert joined[-1] is alone[0], "an equal image is not the same image"
    assert max(map(len, by_tokens)) <= capacity
    assert len(by_tokens) < 21
    assert [each.num_conversations for each in by_number] == [3] * 6 + [2, 1]


def test_what_cannot_keep_them_apart_refuses_them(small_mllm, image):
    first, second = encode(small_mllm, image)[:2]
    joined = join_all(small_mllm, [first, second])
    with pytest.raises(ValueError, match="would see each other"):
        collate([joined], pad_token_id=0)
    with pytest.raises(ValueError, match="would see each other"):
        pack([joined], capacity=999, pad_token_id=0, attention="flash_attention_2")
    ids = second.input_ids.clone()
    ids[0] += 1
    with pytest.raises(ValueError, match="begin differently"):
        join_all(small_mllm, [first, dataclasses.replace(second, input_ids=ids)])
