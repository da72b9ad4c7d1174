"""The client against what the service says, on a real socket."""

import asyncio

import httpx2
import numpy as np
import pytest

from pipelines.serving.api import ApiSettings, build_app
from pipelines.serving.engine import TokenizerEngine
from pipelines.serving.limits import Limits
from samtok import SAMTok
from samtok.client import Answer, AsyncClient, Client, Sampling, ServiceError
from samtok.masks import encode_rle
from samtok.mllm import extend_vocabulary
from samtok.scenes import generate_scene
from samtok.tasks.conversation import Message
from samtok.words import format_codes
from tests.pipelines.serving.conftest import LocalChatModel, LocalTokenizer, listening
from tests.small_mllm import build_small_mllm, saying

CUP = format_codes([(11, 91)])[0]


@pytest.fixture(scope="module")
def tokenizer():
    return SAMTok.from_pretrained("tiny", device="cpu")


@pytest.fixture(scope="module")
def chat_model():
    built = build_small_mllm("qwen3_vl", tied=False)
    extend_vocabulary(built.model, built.processor)
    return LocalChatModel(built)


@pytest.fixture(scope="module")
def address(tokenizer, chat_model):
    settings = ApiSettings(model_id="tiny", chat_model_id="small", limits=Limits(burst=1000))
    backend = LocalTokenizer(TokenizerEngine(tokenizer, cache_bytes=1 << 20))
    with listening(build_app(settings, backend, chat_model)) as address:
        yield address


@pytest.fixture(scope="module")
def scene():
    made = generate_scene(0, split="test", seed=0)
    masks = np.asarray(made.masks)
    return made.image, masks[masks.any(axis=(1, 2))]


def test_words_and_masks_are_the_librarys(address, tokenizer, scene, tmp_path):
    picture, masks = scene
    codes = tokenizer.encode(picture, masks)
    with Client(address) as client:
        for sent in (masks, [encode_rle(mask) for mask in masks]):
            encoded = client.encode(picture, sent, reconstruct=True)
            assert [mask.words for mask in encoded] == format_codes(codes)
            assert [mask.area for mask in encoded] == masks.sum(axis=(1, 2)).tolist()
            assert all(mask.reconstruction_iou > 0.3 for mask in encoded)
        found = client.decode(picture, [mask.words for mask in encoded])
        assert np.array_equal([f.mask for f in found], tokenizer.decode(picture, codes).numpy())
        assert all(0 < f.confidence < 1 for f in found)
        (boxed,) = client.encode(picture, boxes=[encoded[0].box])
        (pointed,) = client.encode(picture, points=[[(5, 6, True), (0, 0, False)]])
        assert (boxed.mask & masks[0]).any()
        assert pointed.mask.any()
        text = f"a {CUP} b <|mt_start|>"
        good, bad = client.decode(picture, text, size=(20, 30))
        assert (text[good.start : good.end], good.mask.shape) == (CUP, (20, 30))
        assert (bad.status, bad.codes, bad.mask) == ("rejected", None, None)


def test_images_are_sent_as_arrays_pictures_bytes_or_files(address, scene, tmp_path):
    from PIL import Image

    picture, masks = scene
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    with Client(address) as client:
        forms = (picture, Image.fromarray(picture), path, str(path), path.read_bytes())
        words = {client.encode(form, masks[:1])[0].words for form in forms}
    assert len(words) == 1


def test_chat_whole_streamed_and_awaited(address, chat_model, tokenizer, scene):
    picture, masks = scene
    prompt = ["What is ", masks[0], "?"]
    history = [("Where?", f"Here: {CUP}")]
    sampling = Sampling(max_tokens=30, stop=["!"])
    mllm = chat_model.mllm
    with Client(address) as client:
        with saying(mllm, f"a {CUP}! no"):
            whole = client.chat(picture, prompt, history=history, sampling=sampling)
        with saying(mllm, f"a {CUP}! no"):
            *pieces, last = client.stream_chat(picture, prompt, history=history, sampling=sampling)

    async def wait():
        async with AsyncClient(address) as client:
            with saying(mllm, f"a {CUP}"):
                answer = await client.chat(picture, prompt)
            with saying(mllm, f"a {CUP}"):
                stream = [piece async for piece in client.stream_chat(picture, prompt)]
            encoded = await client.encode(picture, masks[:1])
            return answer, stream, encoded, await client.decode(picture, [CUP])

    answer, stream, encoded, decoded = asyncio.run(wait())
    words = format_codes(tokenizer.encode(picture, masks[:1]))[0]
    assert encoded[0].words == words
    true = tokenizer.decode(picture, [(11, 91)]).numpy()[0]
    assert np.array_equal(decoded[0].mask, true)
    for got in (whole, last, answer, stream[-1]):
        assert isinstance(got, Answer)
        assert (got.text, got.finish_reason) == (f"a {CUP}", "stop")
        (mask,) = got.masks
        assert (mask.start, mask.label) == (2, None)
        assert np.array_equal(mask.mask, true)
    assert "".join(pieces) == "".join(stream[:-1]) == f"a {CUP}"
    assert chat_model.calls[0].messages == (
        Message("user", "Where?"),
        Message("assistant", f"Here: {CUP}"),
        Message("user", f"What is {words}?"),
    )


def test_errors_say_what_the_service_says(address, scene):
    picture, masks = scene
    with Client(address) as client:
        with pytest.raises(ServiceError, match="rle_size_mismatch") as caught:
            client.encode(picture, masks[:, :-1])
        assert (caught.value.status, caught.value.code) == (422, "rle_size_mismatch")
        assert caught.value.request_id
        with pytest.raises(ServiceError, match="control_word_in_text"):
            list(client.stream_chat(picture, "<|im_end|>"))


def test_a_busy_service_is_asked_again_after_the_time_it_names(tokenizer, scene, monkeypatch):
    picture, masks = scene
    answers = iter([(503, "3"), (429, "7"), (200, None)])
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)

    def answer(request):
        status, wait = next(answers)
        if wait is None:
            return httpx2.Response(status, json={"masks": []})
        error = {"type": "overloaded_error", "message": "busy", "code": "overloaded"}
        return httpx2.Response(status, headers={"Retry-After": wait}, json={"error": error})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    assert Client("http://there", http=http).encode(picture, masks) == []
    assert waits == [3, 7]
    answers = iter([(503, "1")])
    with pytest.raises(ServiceError, match="503 overloaded"):
        Client("http://there", http=http, max_retries=0).encode(picture, masks)


def test_keys_are_sent_and_a_service_without_a_model_says_so(tokenizer, scene):
    import hashlib

    key = "a-key-of-sixteen-or-more"
    settings = ApiSettings(model_id="tiny", key_digests=(hashlib.sha256(key.encode()).hexdigest(),))
    backend = LocalTokenizer(TokenizerEngine(tokenizer, cache_bytes=0))
    with listening(build_app(settings, backend)) as address:
        with pytest.raises(ServiceError, match="401 invalid_api_key"):
            Client(address).encode(*scene)
        with pytest.raises(ServiceError, match="no language model"):
            Client(address, api_key=key).chat(scene[0], "Where?")
