"""Whatever is sent, the answer is one of the contract and never a failure of the service."""

import copy
import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from starlette.testclient import TestClient

from pipelines.serving.api import ApiSettings, build_app
from pipelines.serving.engine import TokenizerEngine
from pipelines.serving.limits import Limits
from tests.pipelines.serving.conftest import LocalChatModel, LocalTokenizer, as_png, as_rle

CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]
FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
MORE = settings(FEW, max_examples=40)
OPERATIONS = ["/v1/encode", "/v1/decode", "/v1/chat/completions"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def app(tokenizer, mllm):
    limits = Limits(requests_per_minute=1e9, burst=10**9, max_new_tokens=4, max_call_seconds=60)
    settings_ = ApiSettings(model_id="tiny", chat_model_id="small", limits=limits)
    backend = LocalTokenizer(TokenizerEngine(tokenizer, cache_bytes=1 << 20))
    return build_app(settings_, backend, LocalChatModel(mllm))


@pytest.mark.parametrize("path", OPERATIONS)
def test_what_the_document_allows_is_answered_as_it_says(app, path):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)

    @FEW
    @given(case=schema[path]["POST"].as_strategy())
    def run(case):
        case.validate_response(case.call(), checks=CHECKS)

    run()


@st.composite
def damaged(draw, body):
    """A good request with something else in one place."""
    body = copy.deepcopy(body)
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
            place[key] = draw(JSON)
            return body
        place = inner


@pytest.mark.parametrize("path", OPERATIONS)
def test_good_requests_with_one_thing_wrong(app, path, picture, masks):
    image = as_png(picture)
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    word = "<|mt_start|><|mt_0011|><|mt_0347|><|mt_end|>"
    region = {"type": "mask", "mask": as_rle(masks[0])}
    body = {
        "/v1/encode": {"image": image, "masks": [as_rle(m) for m in masks], "reconstruct": True},
        "/v1/decode": {"image": image, "words": [word], "size": [9, 9], "format": "polygons"},
        "/v1/chat/completions": {
            "model": "small",
            "messages": [
                {"role": "user", "content": [url, {"type": "text", "text": "a"}, region]},
                {"role": "assistant", "content": word},
                {"role": "user", "content": "b"},
            ],
            "max_tokens": 2,
            "temperature": 1.0,
            "top_p": 0.5,
            "seed": 3,
            "stop": ["x"],
        },
    }[path]
    client = TestClient(app, raise_server_exceptions=False)
    headers = {"Content-Type": "application/json"}
    assert client.post(path, content=json.dumps(body), headers=headers).status_code == 200

    @MORE
    @given(damaged(body))
    def run(sent):
        answer = client.post(path, content=json.dumps(sent), headers=headers)
        assert answer.status_code < 500, answer.text
        if answer.status_code != 200:
            assert set(answer.json()["error"]) == {"type", "message", "code"}

    run()
