"""The service under more load than it can take: what comes back, and what it costs in memory.

    python tests/benchmarks/serve_load.py [--seconds 600] [--times 2.0] [--model tiny-chat]
    python tests/benchmarks/serve_load.py --times 0.5 --kill-after 200

Starts a local Ray cluster and the service with its usual queue. First some clients, half as many
as the queue holds, ask one call after the other: that is its capacity. Then calls come by
themselves, so many times as fast: encode and decode and, one in ten, chat. Prints one JSON object:

- `answered`, `turned_away` (429 or 503 with Retry-After and the form of an error), `other`: shares
  of all calls.
- `wrong`: answers that are not the library's, or in chat not those to the same call alone.
- `kept_back`: calls that this client did not make, as too many were open.
- `memory_growth`: of all processes of the service together, the mean of the last tenth of the time
  over that of the second tenth.
- `answered_over_capacity`: answers per second, over those of the first part.

With `--kill-after` the tokenizer has two replicas, and one of them is killed so many seconds into
the load. At less than capacity, `turned_away` and `other` are then the calls that this cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import numpy as np
import psutil
import serve as serve_benchmark

from pipelines.serving.limits import Limits
from pipelines.serving.run import ServeModelConfig
from samtok import SAMTok
from samtok.masks import decode_rle, encode_rle
from samtok.words import format_codes

CAPACITY_SECONDS = 30.0
CHAT_SHARE, DECODE_SHARE = 0.1, 0.3
MAX_OPEN = 512
"""Calls that this client keeps open; more would measure the client."""


@dataclass(frozen=True)
class Kind:
    """One call with the right answer to it."""

    path: str
    content: bytes
    right: Any


@dataclass
class Tally:
    """What came back."""

    outcomes: Counter = field(default_factory=Counter)
    faults: Counter = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def read_answer(path: str, body: dict) -> Any:
    """The part of an answer that has to be right."""
    if path == "/v1/encode":
        return [mask["words"] for mask in body["masks"]]
    if path == "/v1/decode":
        return [mask["mask"]["rle"]["counts"] for mask in body["masks"]]
    return body["choices"][0]["message"]["content"]


def make_kinds(tokenizer: SAMTok, model: str) -> dict[str, list[Kind]]:
    """Calls of each sort with the library's answers; those of chat are filled in later."""
    kinds: dict[str, list[Kind]] = {"encode": [], "decode": [], "chat": []}
    for body in serve_benchmark.make_bodies():
        image = serve_benchmark.read_picture(body["image"])
        mask = decode_rle(body["masks"][0]["rle"])
        codes = tokenizer.encode(image, mask[None])
        words = format_codes(codes)
        kinds["encode"].append(Kind("/v1/encode", json.dumps(body).encode(), words))
        (found,) = tokenizer.decode(image, codes).numpy()
        content = json.dumps({"image": body["image"], "words": words}).encode()
        kinds["decode"].append(Kind("/v1/decode", content, [encode_rle(found)["counts"]]))
    for image in dict.fromkeys(body["image"] for body in serve_benchmark.make_bodies()):
        parts = [
            {"type": "text", "text": serve_benchmark.PROMPT},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
        ]
        body = {
            "model": model,
            "temperature": 0,
            "max_tokens": 48,
            "messages": [{"role": "user", "content": parts}],
        }
        kinds["chat"].append(Kind("/v1/chat/completions", json.dumps(body).encode(), None))
    return kinds


async def ask_alone(address: str, kinds: list[Kind]) -> list[Kind]:
    """The same with the service's own answers, one call at a time."""
    answered = []
    async with aiohttp.ClientSession(address) as session:
        for kind in kinds:
            body = await _ask(session, kind.path, kind.content)
            answered.append(replace(kind, right=read_answer(kind.path, body)))
    return answered


async def _ask(session: aiohttp.ClientSession, path: str, content: bytes) -> dict:
    headers = {"Content-Type": "application/json"}
    async with session.post(path, data=content, headers=headers) as answer:
        answer.raise_for_status()
        return await answer.json()


def draw(kinds: dict[str, list[Kind]], rng: random.Random) -> Kind:
    chance = rng.random()
    sort = (
        "chat"
        if chance < CHAT_SHARE
        else "decode"
        if chance < CHAT_SHARE + DECODE_SHARE
        else "encode"
    )
    return rng.choice(kinds[sort])


async def send(session: aiohttp.ClientSession, kind: Kind, tally: Tally) -> None:
    began = time.monotonic()
    headers = {"Content-Type": "application/json"}
    try:
        async with session.post(kind.path, data=kind.content, headers=headers) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        tally.outcomes["other"] += 1
        tally.faults[type(error).__name__] += 1
        return
    if answer.status == 200:
        is_right = read_answer(kind.path, json.loads(text)) == kind.right
        tally.outcomes["answered" if is_right else "wrong"] += 1
        tally.seconds.append(time.monotonic() - began)
    elif answer.status in (429, 503) and is_clean(answer, text):
        tally.outcomes["turned_away"] += 1
    else:
        tally.outcomes["other"] += 1
        tally.faults[f"{answer.status} {text[:80]}"] += 1


def is_clean(answer: aiohttp.ClientResponse, text: str) -> bool:
    """Whether a client can read what is wrong and when to try again."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError):
        return False
    return "Retry-After" in answer.headers and set(error) == {"type", "message", "code"}


async def measure_capacity(address: str, kinds: dict[str, list[Kind]], clients: int) -> float:
    """Answers per second."""
    tally, end = Tally(), time.monotonic() + CAPACITY_SECONDS

    async def work(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < end:
            await send(session, draw(kinds, rng), tally)

    async with aiohttp.ClientSession(address, connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*map(work, range(clients)))
    if set(tally.outcomes) != {"answered"}:
        raise SystemExit(f"the service did not answer everything unloaded: {tally.outcomes}")
    return tally.outcomes["answered"] / CAPACITY_SECONDS


async def flood(
    address: str,
    kinds: dict[str, list[Kind]],
    rate: float,
    seconds: float,
    kill_after: float | None,
) -> tuple[Tally, list[float]]:
    """Calls at random times, `rate` a second, whatever comes back; and memory every 5 s, MiB."""
    rng, tally, open_calls = random.Random(0), Tally(), set()
    memory: list[float] = []
    timeout = aiohttp.ClientTimeout(total=300)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(address, connector=connector, timeout=timeout) as session:
        began = time.monotonic()
        if kill_after is not None:
            asyncio.get_running_loop().call_later(kill_after, kill_replica)
        due = began
        while due < began + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if (time.monotonic() - began) // 5 >= len(memory):
                memory.append(measure_memory())
            if len(open_calls) < MAX_OPEN:
                call = asyncio.create_task(send(session, draw(kinds, rng), tally))
                open_calls.add(call)
                call.add_done_callback(open_calls.discard)
            else:
                tally.outcomes["kept_back"] += 1
            due += rng.expovariate(rate)
        await asyncio.gather(*list(open_calls))
    return tally, memory


def kill_replica() -> None:
    """End the process of one of the tokenizer's replicas, as the kernel would."""
    next(list_processes("ray::ServeReplica:samtok:tokenizer")).kill()


def measure_memory() -> float:
    """Resident memory of the service's processes, MiB."""
    processes = list_processes("ray::ServeReplica", "ray::ProxyActor", "ray::ServeController")
    return sum(process.info["memory_info"].rss for process in processes) / 2**20


def list_processes(*titles: str) -> Iterator[psutil.Process]:
    """Processes whose command line begins with one of these, as Ray titles them."""
    for process in psutil.process_iter(["cmdline", "memory_info"]):
        if (process.info["cmdline"] or [""])[0].startswith(titles):
            yield process


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--times", type=float, default=2.0)
    parser.add_argument("--kill-after", type=float)
    parser.add_argument("--model", default="tiny-chat")
    parser.add_argument("--port", type=int, default=8123)
    args = parser.parse_args()
    limits = Limits(requests_per_minute=1e9, burst=10**9)  # all calls come from one client here
    config = ServeModelConfig(
        port=args.port,
        model=args.model,
        limits=limits,
        num_replicas=1 if args.kill_after is None else 2,
    )
    kinds = make_kinds(SAMTok.from_pretrained("tiny"), args.model)
    with serve_benchmark.serving(config) as address:
        kinds["chat"] = asyncio.run(ask_alone(address, kinds["chat"]))
        capacity = asyncio.run(measure_capacity(address, kinds, limits.max_pending // 2))
        rate = args.times * capacity
        tally, memory = asyncio.run(flood(address, kinds, rate, args.seconds, args.kill_after))
    tenth = max(1, len(memory) // 10)
    calls = tally.outcomes.total()
    report = {
        "calls": calls,
        "capacity_per_second": capacity,
        **{
            sort: tally.outcomes[sort] / calls
            for sort in ("answered", "turned_away", "kept_back", "wrong", "other")
        },
        "faults": dict(tally.faults.most_common(3)),
        "answered_over_capacity": tally.outcomes["answered"] / args.seconds / capacity,
        "seconds_median": float(np.median(tally.seconds)),
        "seconds_p99": float(np.quantile(tally.seconds, 0.99)),
        "memory_mib": [round(m) for m in memory[:: max(1, len(memory) // 10)]],
        "memory_growth": np.mean(memory[-tenth:]) / np.mean(memory[tenth : 2 * tenth]) - 1,
    }
    print(
        json.dumps(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in report.items()}, indent=1
        )
    )


if __name__ == "__main__":
    main()
