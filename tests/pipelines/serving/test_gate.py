"""What requests pass before the routes, where it shows without them."""

import asyncio
import json

from pipelines.serving.figures import Figures
from pipelines.serving.gate import Gate
from pipelines.serving.limits import Limits


def test_a_body_that_does_not_arrive_is_given_up():
    async def never(scope, receive, send):
        raise AssertionError("the routes saw it")

    async def slow():
        await asyncio.Event().wait()

    sent = []

    async def send(message):
        sent.append(message)

    limits = Limits(max_body_seconds=0.1)
    gate = Gate(never, limits=limits, key_digests=(), figures=Figures(), paths=frozenset())
    scope = {"type": "http", "path": "/v1/encode", "method": "POST", "headers": [], "client": None}
    asyncio.run(gate(scope, slow, send))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "body_too_slow"
