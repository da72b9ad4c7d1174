"""The service beside the plain way: many clients that encode masks of few images, and a stream.

    python tests/benchmarks/serve.py [--clients 32] [--seconds 20] [--model FOLDER]

Starts a local Ray cluster. In one run, as one JSON object of ratios:

- encode: requests per second of the service with hot images, over those of a FastAPI application
  that calls the tokenizer for each request, without batches or cache, on the same masks.
- chat, with --model: time to the first token, and from there to the end, of the service over those
  of the model called directly in this process, a conversation at a time; and the time of eight
  conversations one after another, over that of eight at once.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import numpy as np
import ray
import uvicorn
from fastapi import FastAPI
from PIL import Image
from ray import serve

from pipelines.serving.limits import Limits
from pipelines.serving.run import ServeModelConfig, find_sources, make_application, start_service
from samtok import SAMTok
from samtok.client import Client, Sampling
from samtok.masks import decode_rle, encode_rle
from samtok.mllm import GenerationConfig, load_mllm
from samtok.mllm.collate import encode_prompt
from samtok.mllm.streaming import write_answer
from samtok.scenes import generate_scene
from samtok.tasks.conversation import Message
from samtok.words import format_codes

NUM_IMAGES = 4
PROMPT = "Segment everything red."
LONG_PROMPT = "Describe the picture, with masks."
NUM_CONVERSATIONS = 8


def make_bodies() -> list[dict]:
    """A request for each mask of the images."""
    bodies = []
    for index in range(NUM_IMAGES):
        scene = generate_scene(index, split="test", seed=0)
        file = io.BytesIO()
        Image.fromarray(scene.image).save(file, format="PNG")
        image = base64.b64encode(file.getvalue()).decode()
        masks = np.asarray(scene.masks)
        bodies += [
            {"image": image, "masks": [{"rle": encode_rle(mask)}]}
            for mask in masks[masks.any(axis=(1, 2))]
        ]
    return bodies


def read_picture(text: str) -> np.ndarray:
    """uint8, shape (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def make_baseline(tokenizer: SAMTok) -> FastAPI:
    """Each request by itself, as a first version would be written."""
    app = FastAPI()

    @app.post("/v1/encode")
    def encode(body: dict) -> dict:
        picture = read_picture(body["image"])
        masks = np.stack([decode_rle(mask["rle"]) for mask in body["masks"]])
        codes = tokenizer.encode(picture, masks)
        return {"masks": [{"words": words} for words in format_codes(codes)]}

    return app


@contextmanager
def listening(app: FastAPI):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def count_rate(address: str, bodies: list[dict], clients: int, seconds: float) -> float:
    """Requests per second that `clients` get answered together."""
    counts = [0] * clients
    contents = [json.dumps(body).encode() for body in bodies]
    headers = {"Content-Type": "application/json"}
    end = 0.0

    def ask(number: int) -> None:
        with httpx2.Client(timeout=120) as http:
            turn = number
            while time.monotonic() < end:
                content = contents[turn % len(contents)]
                answer = http.post(f"{address}/v1/encode", content=content, headers=headers)
                answer.raise_for_status()
                counts[number] += 1
                turn += 1

    for content in contents:  # every image once, so that both are warm
        httpx2.post(f"{address}/v1/encode", content=content, headers=headers, timeout=120)
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def time_stream(write: Callable[[Callable[[str], None]], object]) -> tuple[float, float]:
    """Seconds to the first text, and from there to the end."""
    began, first = time.monotonic(), []

    def note(text: str) -> None:
        if text and not first:
            first.append(time.monotonic())

    write(note)
    return first[0] - began, time.monotonic() - first[0]


def compare_chat(address: str, model: str, repeats: int) -> dict[str, float]:
    """Ratios of the service to the model called directly, medians of alternating repeats."""
    picture = generate_scene(0, split="test", seed=0).image
    mllm = load_mllm(model, device="cpu")
    config = GenerationConfig(max_new_tokens=128)

    def direct(note: Callable[[str], None]) -> None:
        prompt = encode_prompt((Message("user", PROMPT),), picture, mllm.processor)
        write_answer(mllm, prompt, config, on_text=note)

    def served(note: Callable[[str], None]) -> None:
        for piece in client.stream_chat(picture, PROMPT, sampling=Sampling(max_tokens=128)):
            note(piece if isinstance(piece, str) else "")

    with Client(address) as client:
        ways = {"direct": direct, "served": served}
        for way in ways.values():
            way(lambda _: None)
        times: dict[str, list] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                times[name].append(time_stream(way))
    first, rest = (
        statistics.median(t[part] for t in times["served"])
        / statistics.median(t[part] for t in times["direct"])
        for part in (0, 1)
    )
    return {"first_token_served_over_direct": first, "rest_served_over_direct": rest}


def compare_together(address: str, repeats: int) -> float:
    """Seconds of conversations one after another, over those of as many at once."""
    pictures = [generate_scene(n, split="test", seed=0).image for n in range(NUM_CONVERSATIONS)]
    sampling = Sampling(max_tokens=128)
    alone, together = [], []
    with Client(address) as client, ThreadPoolExecutor(NUM_CONVERSATIONS) as pool:

        def ask(picture: np.ndarray) -> None:
            client.chat(picture, LONG_PROMPT, sampling=sampling)

        for _ in range(1 + repeats):
            for run, seconds in ((map, alone), (pool.map, together)):
                began = time.monotonic()
                list(run(ask, pictures))
                seconds.append(time.monotonic() - began)
    return statistics.median(alone[1:]) / statistics.median(together[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--model")
    args = parser.parse_args()
    bodies = make_bodies()
    with listening(make_baseline(SAMTok.from_pretrained("tiny"))) as address:
        plain = count_rate(address, bodies, args.clients, args.seconds)
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    ray.init(address="local", num_cpus=4, include_dashboard=False)
    limits = Limits(requests_per_minute=1e9, burst=10**9, max_pending=4 * args.clients)
    config = ServeModelConfig(port=args.port, model=args.model, limits=limits)
    start_service(config, make_application(config, find_sources(config)))
    address = f"http://127.0.0.1:{args.port}"
    report = {
        "encode_rate_over_plain": count_rate(address, bodies, args.clients, args.seconds) / plain
    }
    if args.model:
        report |= compare_chat(address, args.model, args.repeats)
        report["eight_chats_alone_over_together"] = compare_together(address, args.repeats)
    serve.shutdown()
    ray.shutdown()
    print(json.dumps({k: round(v, 2) for k, v in report.items()}, indent=1))


if __name__ == "__main__":
    main()
