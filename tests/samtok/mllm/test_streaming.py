import numpy as np
import pytest

from samtok.mllm import GenerationConfig, extend_vocabulary, generate
from samtok.mllm.collate import encode_prompt
from samtok.mllm.streaming import AnswerBatch, write_answer
from samtok.tasks.conversation import Message
from samtok.words import format_codes
from tests.samtok.mllm.test_generation import build_talkative
from tests.small_mllm import FAMILIES, build_small_mllm, saying

SPAN = format_codes([(11, 91)])[0]


@pytest.fixture(scope="module")
def mllm():
    built = build_small_mllm("qwen3_vl", tied=False)
    extend_vocabulary(built.model, built.processor)
    return built


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def prompt(mllm, picture):
    return encode_prompt((Message("user", "Where?"),), picture, mllm.processor)


def write(mllm, prompt, text, *, stop=(), max_new_tokens=200):
    pieces = []
    with saying(mllm, text):
        config = GenerationConfig(max_new_tokens=max_new_tokens)
        answer = write_answer(mllm, prompt, config, stop=stop, on_text=pieces.append)
    assert "".join(pieces) == answer.text
    return answer, pieces


def test_pieces_are_whole_characters_and_make_the_text(mllm, prompt):
    text = f"Naïve 🙂🙃 日本: {SPAN} <|object_ref_start|>x<|object_ref_end|>"
    answer, pieces = write(mllm, prompt, text)
    assert (answer.text, answer.finish_reason) == (text, "stop")
    assert answer.num_tokens == len(mllm.tokenizer(text)["input_ids"]) + 1
    assert len(pieces) > answer.num_tokens - 2
    assert "<|mt_0011|>" in pieces  # given away at once
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (["dog"], "a cat, a "),
        (["dog.", "cat"], "a "),
        (["t, a do"], "a ca"),
        (["dogs"], "a cat, a dog"),
        (["g"], "a cat, a do"),
        (["a cat"], ""),
    ],
)
def test_a_stop_text_ends_the_answer_wherever_tokens_are_cut(mllm, prompt, stop, expected):
    answer, _ = write(mllm, prompt, "a cat, a dog", stop=stop)
    assert (answer.text, answer.finish_reason) == (expected, "stop")


def test_nothing_is_written_after_a_stop_text(mllm, prompt):
    answer, _ = write(mllm, prompt, "aaaab" + "c" * 50, stop=["b"])
    assert answer.text == "aaaa"
    assert answer.num_tokens < 10


def test_what_a_limit_cuts_is_told_and_half_a_character_shows(mllm, prompt):
    answer, _ = write(mllm, prompt, "ab🙂", max_new_tokens=3)
    assert (answer.text, answer.finish_reason) == ("ab\ufffd", "length")
    held, _ = write(mllm, prompt, "abc", stop=["bcd"], max_new_tokens=3)
    assert held.text == "abc"


def test_it_is_the_answer_of_a_batch(mllm, prompt, picture):
    config = GenerationConfig(max_new_tokens=40, temperature=1.0, seed=3)
    answer = write_answer(mllm, prompt, config)
    assert [answer.text] == generate(mllm, [picture], ["Where?"], config)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_that_join_and_leave_are_those_that_are_written_alone(family):
    """Prompts and answers of different lengths, greedy and drawn, more than one at every token."""
    mllm = build_talkative(family)
    random = np.random.default_rng(0)
    texts = ["Where?", "And the tree near it, the green one, on the table?", "Cup.", "a small dog"]
    prompts = [
        encode_prompt(
            (Message("user", text),),
            random.integers(0, 256, (32, 32 + 16 * at, 3), dtype=np.uint8),
            mllm.processor,
        )
        for at, text in enumerate(texts)
    ]
    configs = [
        GenerationConfig(max_new_tokens=length, temperature=temperature, seed=at)
        for at, (length, temperature) in enumerate([(30, 0.0), (9, 1.0), (25, 0.7), (12, 1.3)])
    ]
    alone = [write_answer(mllm, *each) for each in zip(prompts, configs, strict=True)]
    batch, written = AnswerBatch(mllm), []
    for prompt, config in zip(prompts, configs, strict=True):
        written.append(batch.add(prompt, config))
        for _ in range(5):
            batch.step()
    assert len(batch) > 1
    while len(batch):
        batch.step()
    assert [answer.result() for answer in written] == alone
    assert len({answer.num_tokens for answer in alone}) > 2


def test_a_caller_that_leaves_leaves_the_others_alone(mllm, prompt):
    def leave(text):
        raise KeyError(text)

    batch = AnswerBatch(mllm)
    config = GenerationConfig(max_new_tokens=6)
    answers = [
        batch.add(prompt, config, on_text=on_text) for on_text in (lambda _: None, leave, print)
    ]
    batch.step()
    assert isinstance(answers[1].exception(timeout=0), KeyError)
    assert len(batch) == 2
    while len(batch):
        batch.step()
    assert answers[0].result() == answers[2].result() == write_answer(mllm, prompt, config)


def test_a_model_that_fails_fails_all_answers_and_not_the_next(mllm, prompt, monkeypatch):
    batch = AnswerBatch(mllm)
    config = GenerationConfig(max_new_tokens=6)
    answers = [batch.add(prompt, config) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(mllm.model.lm_head, "forward", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            batch.step()
    assert [type(answer.exception(timeout=0)) for answer in answers] == 2 * [ZeroDivisionError]
    assert not len(batch)
    answer = batch.add(prompt, config)
    while len(batch):
        batch.step()
    assert answer.result() == write_answer(mllm, prompt, config)


def test_a_caller_that_raises_ends_the_generation(mllm, prompt):
    class Left(Exception):
        pass

    def leave(text):
        raise Left

    with saying(mllm, "aaaa"), pytest.raises(Left):
        write_answer(mllm, prompt, on_text=leave)


def test_a_system_message_goes_first_and_the_image_to_the_user(mllm, picture):
    messages = (Message("system", "Be brief."), Message("user", "Where?"))
    ids = encode_prompt(messages, picture, mllm.processor).input_ids
    assert mllm.tokenizer.decode(ids).startswith(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|>"
    )
