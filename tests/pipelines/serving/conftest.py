"""A service in this process, without Ray, and what clients send."""

import base64
import contextlib
import io
import threading
import time

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from pipelines.serving.api import ApiSettings, build_app
from pipelines.serving.calls import ModelFacts, TokenizerFacts
from pipelines.serving.chat_engine import ChatEngine, stream_answer
from pipelines.serving.engine import TokenizerEngine
from pipelines.serving.limits import Limits
from samtok import SAMTok
from samtok.mllm import extend_vocabulary
from samtok.scenes import generate_scene
from tests.small_mllm import build_small_mllm

HEIGHT, WIDTH = 40, 56


def as_png(array):
    """A picture or a mask in base64."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def as_rle(mask):
    """Uncompressed COCO RLE of a mask, counted here and not by the library."""
    flat = np.concatenate([[False], mask.T.ravel(), [not mask[-1, -1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff([0, *ends.tolist()]).tolist()
    return {"rle": {"size": list(mask.shape), "counts": counts}}


class LocalTokenizer:
    """An engine as the routes ask it, a call at a time."""

    def __init__(self, engine):
        self.engine = engine
        self.calls = []

    async def encode(self, call):
        self.calls.append(call)
        return self.engine.run([call])[0]

    async def decode(self, call):
        return self.engine.run([call])[0]

    async def facts(self):
        return TokenizerFacts("tiny", self.engine.fingerprint)


class LocalChatModel:
    """A language model as the routes ask it."""

    def __init__(self, mllm, max_prompt_tokens=8192):
        self.mllm = mllm
        self.engine = ChatEngine(mllm, max_prompt_tokens=max_prompt_tokens, max_batch_size=4)
        self.calls = []

    def stream(self, call):
        self.calls.append(call)
        return stream_answer(self.engine, call)

    async def facts(self):
        return ModelFacts("small", self.engine.mask_tokenizer)


@contextlib.contextmanager
def listening(app):
    """Address of an application on a real socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def mllm():
    """Random weights and mask words; tests say what it says."""
    built = build_small_mllm("qwen3_vl", tied=False)
    extend_vocabulary(built.model, built.processor)
    return built


@pytest.fixture(scope="session")
def tokenizer():
    return SAMTok.from_pretrained("tiny", device="cpu")  # its masks are not empty


@pytest.fixture(scope="session")
def picture():
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def masks():
    """A block, a ring and a mask of two parts; bool (3, H, W)."""
    made = np.zeros((3, HEIGHT, WIDTH), dtype=bool)
    made[0, 5:20, 8:30] = True
    made[1, 10:38, 20:50] = True
    made[1, 15:30, 28:40] = False
    made[2, 0:6, 0:6] = made[2, 30:40, 44:56] = True
    return made


@pytest.fixture
def backend(tokenizer):
    return LocalTokenizer(TokenizerEngine(tokenizer, cache_bytes=1 << 20))


@pytest.fixture
def serve(backend):
    """Makes a client of a service with the given limits."""

    def make(*, key_digests=(), **limits):
        settings = ApiSettings(
            model_id="tiny", limits=Limits(**limits), key_digests=tuple(key_digests)
        )
        return TestClient(build_app(settings, backend), raise_server_exceptions=False)

    return make


@pytest.fixture(scope="session")
def scenes():
    """Scenes with masks, as (picture, bool masks)."""
    made = [generate_scene(index, split="test", seed=0) for index in range(4)]
    return [(s.image, m[m.any(axis=(1, 2))]) for s in made for m in [np.asarray(s.masks)]]
