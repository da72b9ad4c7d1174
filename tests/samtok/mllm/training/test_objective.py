"""The loss: of answers only, equal to one computed by hand, and whatever shares a row."""

import pytest
import torch

from samtok.mllm.training.objective import AnswerObjective, count_answer_tokens
from tests.samtok.mllm.training.small_sft import batch, build_mllm, encode
from tests.small_mllm import FAMILIES


@pytest.fixture(scope="module", params=FAMILIES)
def mllm(request):
    return build_mllm(request.param, tied=request.param == "qwen3_vl")


def losses_of(mllm, *args, **options):
    with torch.no_grad():
        return AnswerObjective(mllm.model, torch.float32)(batch(mllm, *args, **options).inputs)


def losses_by_hand(mllm, example):
    """Token by token from the model's own logits: -log softmax at the next id of each answer."""
    inputs = {
        "input_ids": example.input_ids[None],
        "pixel_values": example.pixel_values,
        "image_grid_thw": example.image_grid_thw,
        "mm_token_type_ids": (example.input_ids == mllm.processor.image_token_id).long()[None],
    }
    with torch.no_grad():
        logits = mllm.model(**inputs).logits[0].double()
    losses = []
    for place in range(1, len(example)):
        if example.labels[place] != -100:
            scores = logits[place - 1]
            probability = scores.exp()[example.input_ids[place]] / scores.exp().sum()
            losses.append(-probability.log())
    return torch.stack(losses)


def test_losses_equal_those_by_hand(mllm):
    examples = encode(mllm, range(4))
    found = losses_of(mllm, range(4))
    expected = [losses_by_hand(mllm, example) for example in examples]
    torch.testing.assert_close(found.losses.double(), torch.cat(expected), rtol=1e-4, atol=1e-5)
    counts = torch.bincount(found.rows, minlength=4).tolist()
    assert counts == [len(losses) for losses in expected]


def test_packed_conversations_have_the_losses_of_lone_ones(mllm):
    alone = torch.cat([losses_of(mllm, [i]).losses for i in range(7)])
    packed = losses_of(mllm, range(7), capacity=160)
    assert len(set(packed.rows.tolist())) < 7, "some share a row"
    torch.testing.assert_close(
        packed.losses.sort().values, alone.sort().values, rtol=1e-4, atol=1e-5
    )


def test_only_answers_count(mllm):
    (example,) = encode(mllm, [3])
    inputs = batch(mllm, [3]).inputs
    assert count_answer_tokens(inputs) == int((example.labels != -100).sum())
    answers = mllm.tokenizer.decode(example.labels[example.labels != -100])
    assert answers.count("<|im_end|>") == 2
    assert "Segment" not in answers
