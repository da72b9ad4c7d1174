"""The service as it runs: Ray Serve on a real local cluster, real sockets, a killed replica."""

import dataclasses
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from functools import partial

import numpy as np
import openai
import pytest
import torch

from samtok.masks import decode_rle
from samtok.mllm import (
    GenerationConfig,
    MaskTokenizerReference,
    extend_vocabulary,
    generate,
    mask_token_ids,
    save_mllm,
)
from samtok.words import format_codes, parse
from tests.pipelines.serving.browsing import Picture, open_browser, open_page
from tests.pipelines.serving.conftest import as_png, as_rle
from tests.ray_workers import find_workers
from tests.small_mllm import build_small_mllm

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def talker(tokenizer):
    """Random weights that open a mask now and then, and have learned the tokenizer's words."""
    built = build_small_mllm("qwen3_vl", tied=False)
    extend_vocabulary(built.model, built.processor)
    with torch.no_grad():
        for parameter in built.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(10)
        built.model.lm_head.weight[mask_token_ids(built.tokenizer).start] *= 3
    learned = MaskTokenizerReference(name="tiny", fingerprint=tokenizer.fingerprint)
    return dataclasses.replace(built, mask_tokenizer=learned)


@pytest.fixture(scope="module")
def service(serve_port, talker, tmp_path_factory):
    """Address of a running service."""
    from ray import serve

    from pipelines.serving.deployments import APPLICATION
    from pipelines.serving.limits import Limits
    from pipelines.serving.run import (
        ChatConfig,
        ServeModelConfig,
        find_sources,
        make_application,
        start_service,
    )

    folder = save_mllm(talker, tmp_path_factory.mktemp("model"))
    limits = Limits(requests_per_minute=100_000, burst=10_000)
    config = ServeModelConfig(
        port=serve_port,
        limits=limits,
        batch_wait_ms=50,
        model=str(folder),
        chat=ChatConfig(cpus_per_replica=0.5),
    )
    start_service(config, make_application(config, find_sources(config)))
    yield f"http://127.0.0.1:{serve_port}"
    serve.delete(APPLICATION)


@pytest.fixture
def post(service):
    """Posts JSON to a running service; gives status, body and headers."""

    def post(path, body=None):
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{service}{path}", content, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    return post


def read_figures(post, name):
    """Sum of the samples of a figure."""
    lines = post("/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def run_together(function, arguments):
    """Results of as many threads, started at once."""
    results = [None] * len(arguments)

    def work(position):
        results[position] = function(arguments[position])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(arguments))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_simultaneous_clients_get_the_librarys_words_and_masks(post, tokenizer, scenes):
    picture, masks = scenes[0]
    image = as_png(picture)
    bodies = [{"image": image, "masks": [as_rle(m)]} for m in masks]
    before = read_figures(post, 'samtok_embedding_cache_total{result="miss"}')
    answers = run_together(lambda body: post("/v1/encode", body), bodies * 2)
    assert {status for status, _, _ in answers} == {200}
    words = [json.loads(content)["masks"][0]["words"] for _, content, _ in answers]
    codes = tokenizer.encode(picture, masks)
    assert words == format_codes(codes) * 2
    misses = read_figures(post, 'samtok_embedding_cache_total{result="miss"}') - before
    assert misses == 1  # one backbone pass for all of them
    batches = read_figures(post, "samtok_batch_size_sum") / read_figures(
        post, "samtok_batch_size_count"
    )
    assert batches > 1

    decodes = [{"image": image, "words": [w]} for w in words[: len(masks)]]
    decoded = run_together(lambda body: post("/v1/decode", body), decodes)
    expected = [tokenizer.decode(picture, codes[n : n + 1]).numpy()[0] for n in range(len(masks))]
    for (_, content, headers), true in zip(decoded, expected, strict=True):
        shown = decode_rle(json.loads(content)["masks"][0]["mask"]["rle"])
        assert np.array_equal(shown, true)
        assert headers["x-request-id"]


def test_refusals_pass_through_ray(post, scenes):
    picture, _ = scenes[1]
    status, content, _ = post("/v1/decode", {"image": as_png(picture)[:-4000], "text": "x"})
    assert (status, json.loads(content)["error"]["code"]) == (422, "image_unreadable")


def test_what_is_too_much_is_turned_away_in_the_services_own_words(post, scenes):
    """Ray's proxy has limits of its own, and answers with bare text where they are reached."""
    picture, masks = scenes[0]
    body = {"image": as_png(picture), "masks": [as_rle(masks[0])]}
    answers = run_together(lambda _: post("/v1/encode", body), range(300))
    refused = [(content, headers) for status, content, headers in answers if status != 200]
    assert {status for status, _, _ in answers} == {200, 503}
    for content, headers in refused:
        assert json.loads(content)["error"]["code"] == "overloaded"
        assert int(headers["Retry-After"]) >= 1


def test_a_killed_replica_gives_no_wrong_answer(post, tokenizer, scenes):
    picture, masks = scenes[2]
    bodies = [{"image": as_png(picture), "masks": [as_rle(m)]} for m in masks]
    expected = format_codes(tokenizer.encode(picture, masks))
    stop = threading.Event()
    seen = []

    def client(number):
        while not stop.is_set():
            n = number % len(masks)
            status, content, headers = post("/v1/encode", bodies[n])
            seen.append((status, json.loads(content), headers.get("retry-after"), expected[n]))

    killer = threading.Timer(1.0, _kill_replica, ["tokenizer"])
    threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    for thread in [*threads, killer]:
        thread.start()
    killer.join()
    deadline = time.monotonic() + 60
    killed_at = len(seen)
    while time.monotonic() < deadline and not any(s[0] == 200 for s in seen[killed_at + 8 :]):
        time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert any(s[0] == 200 for s in seen[killed_at + 8 :]), "the replica was not replaced"
    for status, content, retry_after, words in seen:
        if status == 200:
            assert content["masks"][0]["words"] == words
        else:
            assert (status, content["error"]["code"]) == (503, "overloaded")
            assert retry_after


def open_client(service, picture):
    """OpenAI's, and a way to ask for the cup in a picture."""
    client = openai.OpenAI(base_url=f"{service}/v1", api_key="none", max_retries=0, timeout=120)
    (model,) = [m.id for m in client.models.list() if m.capabilities == ["chat"]]
    url = f"data:image/png;base64,{as_png(picture)}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "Segment the red cup."},
    ]
    messages = [{"role": "user", "content": content}]
    return client, partial(
        client.chat.completions.create, model=model, messages=messages, temperature=1.0
    )


def test_openais_client_streams_through_ray(service, talker, tokenizer, scenes):
    picture, _ = scenes[3]
    client, ask = open_client(service, picture)
    (model,) = [m for m in client.models.list() if m.capabilities == ["chat"]]
    assert model.mask_tokenizer == tokenizer.fingerprint
    *chunks, last = (chunk.choices[0] for chunk in ask(max_tokens=60, seed=1, stream=True))
    text = "".join(chunk.delta.content for chunk in chunks)
    config = GenerationConfig(max_new_tokens=60, temperature=1.0, seed=1)
    assert [text] == generate(talker, [picture], ["Segment the red cup."], config)
    assert len(chunks) > 2
    spans = parse(text)
    assert spans
    expected = tokenizer.decode(picture, [span.codes for span in spans]).numpy()
    for mask, true in zip(last.delta.masks, expected, strict=True):
        assert np.array_equal(decode_rle(mask["mask"]["rle"]), true)


def test_an_answer_whose_replica_is_killed_ends_with_an_error_that_can_be_tried_again(
    service, scenes
):
    _, ask = open_client(service, scenes[3][0])
    stream = iter(ask(max_tokens=1000, seed=2, stream=True))
    next(stream)
    _kill_replica("chat")
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "overloaded"
    deadline = time.monotonic() + 120
    answer, refusals = None, []
    while answer is None and time.monotonic() < deadline:
        try:
            answer = ask(max_tokens=20, seed=2)
        except openai.APIStatusError as error:
            refusals.append(
                (error.status_code, error.code, "retry-after" in error.response.headers)
            )
            time.sleep(0.2)
    assert answer is not None, "the replica was not replaced"
    assert set(refusals) <= {(503, "overloaded", True)}
    assert answer.choices[0].message.content


def test_the_page_asks_and_shows_the_masks_of_the_answer(service, talker, tokenizer, scenes):
    from playwright.sync_api import expect

    image, _ = scenes[3]
    config = GenerationConfig(max_new_tokens=60, temperature=1.0, seed=1)
    (text,) = generate(talker, [image], ["Segment the red cup."], config)
    codes = list(dict.fromkeys(span.codes for span in parse(text)))

    def add_sampling(route, request):  # without it, random weights open no mask
        settings = {"max_tokens": 60, "temperature": 1.0, "seed": 1}
        route.continue_(post_data={**request.post_data_json, **settings})

    with open_browser() as browser, open_page(browser, f"{service}/") as page:
        page.route("**/v1/chat/completions", add_sampling)
        picture = Picture(page, image)
        before = picture.see()
        page.locator("#question").fill("Segment the red cup.")
        page.keyboard.press("Enter")
        rows = page.locator("#regions li .words")
        expect(rows).to_have_count(len(codes), timeout=60_000)
        shown = [row.get_attribute("title") for row in rows.all()]
        assert [parse(words)[0].codes for words in shown] == codes
        rebuilt = tokenizer.decode(image, codes).numpy().any(0)
        seen = np.abs(before.astype(int) - picture.see()).max(axis=2) > 8
        assert (seen & rebuilt).sum() / (seen | rebuilt).sum() > 0.9


def _kill_replica(deployment):
    """End the process of its replica, as the kernel would."""
    (replica,) = find_workers(f"ServeReplica:samtok:{deployment}")
    os.kill(replica, signal.SIGKILL)
