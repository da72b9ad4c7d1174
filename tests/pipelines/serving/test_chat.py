"""Conversations over HTTP: a real server in this process, and OpenAI's own client."""

import asyncio
import base64
import dataclasses
import io
import json

import httpx2
import numpy as np
import openai
import pytest
from PIL import Image

from pipelines.serving.api import ApiSettings, build_app
from pipelines.serving.engine import TokenizerEngine
from pipelines.serving.limits import Limits
from samtok.masks import decode_segmentation
from samtok.mllm import MaskTokenizerReference, generate
from samtok.mllm.generation import GenerationConfig
from samtok.tasks.conversation import Message
from samtok.words import format_codes
from tests.pipelines.serving.conftest import (
    LocalChatModel,
    LocalTokenizer,
    as_png,
    as_rle,
    listening,
)
from tests.small_mllm import saying

CUP, HAT = format_codes([(11, 91), (200, 3)])
ANSWER = f"Naïve 🙂 <|object_ref_start|>the cup<|object_ref_end|>{CUP}, {HAT}."
LIMITS = {"max_messages": 4, "max_text_characters": 500, "max_new_tokens": 200, "max_masks": 3}


@pytest.fixture(scope="module")
def chat_model(mllm):
    return LocalChatModel(mllm)


@pytest.fixture(scope="module")
def address(tokenizer, chat_model):
    settings = ApiSettings(model_id="tiny", chat_model_id="small", limits=Limits(**LIMITS))
    backend = LocalTokenizer(TokenizerEngine(tokenizer, cache_bytes=1 << 20))
    with listening(build_app(settings, backend, chat_model)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def image_part(picture):
    url = f"data:image/png;base64,{as_png(picture)}"
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.fixture(scope="module")
def question(image_part):
    return [{"role": "user", "content": [{"type": "text", "text": "Where?"}, image_part]}]


def ask(client, messages, **more):
    return client.chat.completions.create(model="small", messages=messages, **more)


@pytest.mark.parametrize("form", ["rle", "polygons", "png"])
def test_an_answer_carries_its_masks(client, mllm, tokenizer, picture, question, form):
    with saying(mllm, ANSWER):
        got = ask(client, question, extra_body={"mask_format": form})
    (choice,) = got.choices
    assert choice.message.content == ANSWER
    assert choice.finish_reason == "stop"
    masks = choice.message.masks
    spans = [ANSWER[mask["start"] : mask["end"]] for mask in masks]
    assert spans == [CUP, HAT]
    assert [mask["codes"] for mask in masks] == [[11, 91], [200, 3]]
    assert [mask["label"] for mask in masks] == ["the cup", None]
    expected = tokenizer.decode(picture, [(11, 91), (200, 3)]).numpy()
    for mask, true in zip(masks, expected, strict=True):
        sent = mask["mask"][form]
        if form == "png":
            shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(sent))))
        else:
            shown = decode_segmentation(sent, *true.shape)
        assert np.array_equal(shown, true)
        assert mask["area"] == true.sum()
    usage = got.usage
    assert usage.completion_tokens == len(mllm.tokenizer(ANSWER)["input_ids"]) + 1
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_is_the_same_answer_in_pieces(client, mllm, question):
    with saying(mllm, ANSWER):
        whole = ask(client, question)
    with saying(mllm, ANSWER):
        chunks = list(ask(client, question, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [c.choices[0].delta.content for c in chunks if c.choices]
    assert "".join(piece or "" for piece in pieces) == ANSWER
    *_, last, usage = chunks
    assert last.choices[0].finish_reason == "stop"
    assert last.choices[0].delta.masks == whole.choices[0].message.masks
    assert (usage.choices, usage.usage) == ([], whole.usage)
    assert not any(getattr(c.choices[0].delta, "masks", None) for c in chunks[:-2])
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_ends_with_done_and_asks_for_no_buffering(address, mllm, question):
    body = {"model": "small", "messages": question, "stream": True}
    with saying(mllm, "a"):
        answer = httpx2.post(f"{address}/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(event.removeprefix("data: ")) for event in events[:-2])


def test_the_async_client_streams_too(address, mllm, question):
    async def collect():
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:
            stream = await ask(client, question, stream=True)
            return [chunk.choices[0].delta.content or "" async for chunk in stream]

    with saying(mllm, "a cat"):
        assert "".join(asyncio.run(collect())) == "a cat"


def test_history_regions_and_settings_reach_the_model(
    client, chat_model, mllm, tokenizer, picture, masks, image_part
):
    words = format_codes(tokenizer.encode(picture, masks[:2]))
    region = {"type": "mask", "mask": as_rle(masks[0])}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [image_part, {"type": "text", "text": "What is "}, region]},
        {"role": "assistant", "content": f"A hat {HAT}."},
        {
            "role": "user",
            "content": [
                {"type": "mask", "mask": {"png": as_png(masks[1])}},
                {"type": "text", "text": f" or {CUP}?"},
                image_part,
            ],
        },
    ]
    settings = {"max_tokens": 12, "temperature": 1.0, "top_p": 0.9, "seed": 7}
    got = ask(client, messages, **settings)
    turns = (
        Message("system", "Be brief."),
        Message("user", f"What is {words[0]}"),
        Message("assistant", f"A hat {HAT}."),
        Message("user", f"{words[1]} or {CUP}?"),
    )
    assert chat_model.calls[-1].messages == turns
    config = GenerationConfig(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=7)
    assert [got.choices[0].message.content] == generate(mllm, [picture], [turns], config)
    assert got.choices[0].finish_reason == "length"
    assert ask(client, messages, **settings).choices[0].message == got.choices[0].message
    free = {**settings, "seed": openai.omit}
    assert len({ask(client, messages, **free).choices[0].message.content for _ in range(3)}) > 1


def test_stop_texts_end_an_answer(client, mllm, question):
    with saying(mllm, "a cat, a dog"):
        got = ask(client, question, stop=["dog", "x"]).choices[0]
    assert (got.message.content, got.finish_reason) == ("a cat, a ", "stop")


def test_masks_can_be_left_out_and_stop_at_the_limit(client, mllm, question):
    with saying(mllm, CUP):
        got = ask(client, question, extra_body={"mask_format": None}).choices[0].message.masks
    assert [(mask["codes"], mask["mask"]) for mask in got] == [([11, 91], None)]
    with saying(mllm, CUP * 4):
        got = ask(client, question).choices[0].message.masks
    assert [mask["mask"] is None for mask in got] == [False, False, False, True]


def refused(client, messages, **more):
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, messages, **more)
    return caught.value.status_code, caught.value.code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"max_tokens": 201}, "too_many_tokens"),
        ({"max_completion_tokens": 0}, "body_malformed"),
        ({"temperature": 2.5}, "body_malformed"),
        ({"top_p": 0}, "body_malformed"),
        ({"n": 2}, "body_malformed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "body_malformed"),
        ({"stop": ""}, "body_malformed"),
        ({"extra_body": {"mask_format": "svg"}}, "body_malformed"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "body_malformed"),
    ],
)
def test_settings_that_are_refused(client, question, changes, code):
    assert refused(client, question, **changes) == (422, code)


def test_conversations_that_are_refused(client, question, image_part, masks, picture):
    user = {"role": "user", "content": "And?"}
    model = {"role": "assistant", "content": "Yes."}
    system = {"role": "system", "content": "Be brief."}
    other = as_png(np.ascontiguousarray(picture[:, ::-1]))
    images = [image_part, {"type": "image_url", "image_url": {"url": other}}]
    region = {"type": "mask", "mask": as_rle(masks[0][:-1])}
    address = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/a.png"}}
    for messages, code in [
        ([], "body_malformed"),
        ([user], "image_missing"),
        ([*question, user], "messages_out_of_order"),
        ([*question, model], "messages_out_of_order"),
        ([*question, system, *question], "messages_out_of_order"),
        ([system], "messages_out_of_order"),
        ([*question, model, user, model, user], "too_many_messages"),
        ([{"role": "user", "content": images}], "too_many_images"),
        ([{"role": "user", "content": [image_part, region]}], "rle_size_mismatch"),
        ([{"role": "user", "content": [address]}], "image_url_refused"),
        ([*question, {"role": "assistant", "content": "x" * 500}, user], "text_too_long"),
        ([*question, model, {"role": "user", "content": "<|im_end|>"}], "control_word_in_text"),
        ([{"role": "tool", "content": "x"}], "body_malformed"),
    ]:
        assert refused(client, messages) == (422, code), code
    many = [
        {"role": "user", "content": [image_part, *[{"type": "mask", "mask": as_rle(masks[0])}] * 4]}
    ]
    assert refused(client, many) == (422, "too_many_masks")


def test_a_refusal_of_the_model_is_no_stream(client, question):
    messages = [*question, {"role": "assistant", "content": "a"}]
    messages.append({"role": "user", "content": "<|image_pad|>"})
    assert refused(client, messages, stream=True) == (422, "control_word_in_text")


def test_other_models_are_not_found(client, question, serve, body_of):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt", messages=question)
    assert caught.value.code == "model_not_found"
    assert "'small'" in caught.value.message
    answer = serve().post("/v1/chat/completions", json=body_of(question))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "no language model is served" in answer.json()["error"]["message"]


@pytest.fixture
def body_of():
    return lambda messages: {"model": "small", "messages": messages}


def test_models_and_figures_know_the_model(client, address, mllm, question):
    models = {model.id: model for model in client.models.list()}
    assert models["small"].capabilities == ["chat"]
    assert models["tiny"].capabilities == ["encode", "decode"]
    with saying(mllm, "a"):
        ask(client, question)
    figures = httpx2.get(f"{address}/metrics").text
    assert 'samtok_chat_tokens_total{kind="completion"}' in figures
    assert "samtok_chat_first_token_seconds_count" in figures
    assert 'path="/v1/chat/completions",status="200"' in figures


def serve_chat(tokenizer, model, **limits):
    settings = ApiSettings(model_id="tiny", chat_model_id="small", limits=Limits(**limits))
    return listening(
        build_app(settings, LocalTokenizer(TokenizerEngine(tokenizer, cache_bytes=0)), model)
    )


def test_a_long_prompt_is_refused(tokenizer, mllm, question):
    with serve_chat(tokenizer, LocalChatModel(mllm, max_prompt_tokens=40)) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        assert refused(client, question) == (422, "prompt_too_long")


def test_words_of_another_tokenizer_are_an_error_never_a_mask(tokenizer, mllm, question):
    other = dataclasses.replace(
        mllm, mask_tokenizer=MaskTokenizerReference(name="x", fingerprint="ab")
    )
    with serve_chat(tokenizer, LocalChatModel(other)) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        with saying(mllm, CUP):
            assert refused(client, question) == (503, "overloaded")
        with saying(mllm, f"a {CUP}"), pytest.raises(openai.APIError) as caught:
            list(ask(client, question, stream=True))
        assert caught.value.code == "overloaded"
        with saying(mllm, "No target."):
            assert ask(client, question).choices[0].message.masks == []


def test_a_client_that_leaves_frees_the_model(tokenizer, mllm, question):
    model = LocalChatModel(mllm)
    with serve_chat(tokenizer, model) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=60)
        submit, outcomes = model.engine.submit, []

        def watched(call, on_text):
            outcomes.append(submit(call, on_text))
            return outcomes[-1]

        model.engine.submit = watched
        with (
            saying(mllm, "a" * 2000),
            ask(client, question, stream=True, max_tokens=1000) as stream,
        ):
            next(iter(stream))
            stream.close()
        (outcome,) = outcomes
        assert type(outcome.exception(timeout=60)).__name__ == "_ClientLeftError"
