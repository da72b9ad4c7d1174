"""Another tokenizer takes over while clients ask."""

import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from samtok import SAMTok
from samtok.words import format_codes
from tests.pipelines.serving.conftest import as_png, as_rle
from tests.small_tokenizer import SMALL_SHAPE

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Two tokenizers of different weights, as folders."""
    made = [SAMTok.from_config(SMALL_SHAPE, device="cpu", seed=seed) for seed in (1, 2)]
    return [(tok, str(tok.save_pretrained(tmp_path_factory.mktemp("version")))) for tok in made]


def test_no_request_fails_while_the_tokenizer_is_replaced(
    ray_cluster, serve_port, versions, picture, masks
):
    from ray import serve

    from pipelines.serving.deployments import APPLICATION
    from pipelines.serving.limits import Limits
    from pipelines.serving.run import (
        ServeModelConfig,
        find_sources,
        make_application,
        start_service,
    )

    (old, old_folder), (new, new_folder) = versions
    words = {tok.fingerprint: format_codes(tok.encode(picture, masks[:1]))[0] for tok in (old, new)}
    settings = {
        "port": serve_port,
        "cpus_per_replica": 0.5,
        "limits": Limits(requests_per_minute=1e6, burst=10**6),
    }
    body = json.dumps({"image": as_png(picture), "masks": [as_rle(masks[0])]}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{serve_port}/v1/encode", body, {"Content-Type": "application/json"}
    )
    stop, seen = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    seen.append((answer.status, json.load(answer)))
            except urllib.error.HTTPError as error:
                seen.append((error.code, error.read()))

    def deploy(folder):
        config = ServeModelConfig(tokenizer=folder, **settings)
        start_service(config, make_application(config, find_sources(config)))

    deploy(old_folder)
    try:
        clients = [threading.Thread(target=ask) for _ in range(3)]
        for client in clients:
            client.start()
        deploy(new_folder)
        before = len(seen)
        while len(seen) < before + 9 and stop.wait(0.1) is False:
            pass
        stop.set()
        for client in clients:
            client.join()
    finally:
        stop.set()
        serve.delete(APPLICATION)
    assert {status for status, _ in seen} == {200}, [s for s in seen if s[0] != 200][:3]
    for _, answer in seen:
        assert answer["masks"][0]["words"] == words[answer["tokenizer"]]
    assert seen[0][1]["tokenizer"] == old.fingerprint
    assert {answer["tokenizer"] for _, answer in seen[before + 3 :]} == {new.fingerprint}
    assert np.diff([answer["tokenizer"] == new.fingerprint for _, answer in seen]).any()
