"""Several conversations with one model: they are answered together, and wait where it is full."""

import base64
import threading

import pytest

from pipelines.serving.calls import ChatCall, ChatEnd, SentImage
from pipelines.serving.chat_engine import ChatEngine
from samtok.mllm import GenerationConfig, generate
from samtok.tasks.conversation import Message
from tests.pipelines.serving.conftest import HEIGHT, WIDTH, as_png
from tests.samtok.mllm.test_generation import build_talkative


@pytest.fixture(scope="module")
def talkative():
    return build_talkative("qwen3_vl")


@pytest.fixture
def make_engine(talkative):
    made = []

    def make(max_batch_size):
        made.append(ChatEngine(talkative, max_prompt_tokens=1000, max_batch_size=max_batch_size))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def call(picture):
    """Makes a call."""

    def make(text, max_new_tokens, **changes):
        image = SentImage(base64.b64decode(as_png(picture)), "0", HEIGHT, WIDTH)
        config = GenerationConfig(max_new_tokens=max_new_tokens, **changes)
        return ChatCall(image, (Message("user", text),), config, stop=())

    return make


def listen(engine, call):
    """Submit; the outcome, the pieces so far, and an event set at the first."""
    pieces, began = [], threading.Event()

    def take(text):
        pieces.append(text)
        began.set()

    return engine.submit(call, take), pieces, began


def test_a_call_does_not_wait_for_another_to_end(make_engine, talkative, picture, call):
    engine = make_engine(2)
    long, pieces, began = listen(engine, call("Where?", 400))
    assert began.wait(60)
    short, more, _ = listen(engine, call("And the cup?", 5))
    assert isinstance(short.result(timeout=60), ChatEnd)
    assert not long.done()
    assert long.result(timeout=120).finish_reason in ("stop", "length")
    for text, max_new_tokens, written in [("Where?", 400, pieces), ("And the cup?", 5, more)]:
        config = GenerationConfig(max_new_tokens=max_new_tokens)
        assert ["".join(written)] == generate(talkative, [picture], [text], config)


def test_where_all_places_are_taken_calls_wait_and_can_be_taken_back(make_engine, call):
    engine = make_engine(1)
    first, _, began = listen(engine, call("Where?", 200))
    assert began.wait(60)
    taken_back, pieces, _ = listen(engine, call("Where?", 5))
    second, _, _ = listen(engine, call("Where?", 5))
    assert taken_back.cancel()
    assert isinstance(second.result(timeout=120), ChatEnd)
    assert first.done()
    assert pieces == []


def test_a_call_that_cannot_be_read_is_refused_beside_one_that_is_answered(make_engine, call):
    engine = make_engine(2)
    answered, _, began = listen(engine, call("Where?", 100))
    assert began.wait(60)
    refused, _, _ = listen(engine, call("<|image_pad|>", 5))
    assert refused.result(timeout=60).reason == "control_word_in_text"
    long, _, _ = listen(engine, call("Where? " * 1000, 5))
    assert long.result(timeout=60).reason == "prompt_too_long"
    assert isinstance(answered.result(timeout=60), ChatEnd)
