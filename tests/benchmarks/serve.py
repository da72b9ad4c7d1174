"""The service beside the plain way: many clients that encode masks of few images, and a stream.

    python tests/benchmarks/serve.py [--clients 32] [--tokenizers tiny hiera_t]
        [--models tiny-chat wide]

Starts a local Ray cluster for each pair of tokenizer and model: `tiny`, and a SAM2.1 tokenizer of
published size with random weights; `tiny-chat`, and a few layers as wide as those of Qwen3-VL-4B
with random weights. What the service adds to a call is the same for all of them, so it weighs
on small models that no GPU serves. One JSON object for each, of ratios:

- encode: requests per second of the service with hot images, over those of a FastAPI application
  that calls the tokenizer for each request, without batches or cache, on the same masks.
- chat: time to the first token, and from there to the end, of the service over those of the model
  called directly in this process with as many threads, a conversation at a time; and the time of
  eight conversations one after another, over that of eight at once.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import ray
import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image
from ray import serve

from pipelines.serving.limits import Limits
from pipelines.serving.run import ServeModelConfig, find_sources, make_application, start_service
from samtok import SAMTok
from samtok.client import Client, Sampling
from samtok.masks import decode_rle, encode_rle
from samtok.mllm import GenerationConfig, Mllm, extend_vocabulary, load_mllm, save_mllm
from samtok.mllm.collate import encode_prompt
from samtok.mllm.streaming import write_answer
from samtok.mllm.tiny import build_tiny_mllm
from samtok.scenes import generate_scene
from samtok.tasks.conversation import Message
from samtok.tokenizer import PRESETS
from samtok.words import format_codes

NUM_IMAGES = 4
PROMPT = "Segment everything red."
LONG_PROMPT = "Describe the picture, with masks."
NUM_CONVERSATIONS = 8
WIDE = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5_000_000,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
    },
}
"""Of Qwen/Qwen3-VL-4B-Instruct, which has 36 such layers."""


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


@contextmanager
def serving(config: ServeModelConfig):
    """Address of the service on a Ray cluster of its own."""
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    ray.init(address="local", num_cpus=4, include_dashboard=False)
    start_service(config, make_application(config, find_sources(config)))
    yield f"http://127.0.0.1:{config.port}"
    serve.shutdown()
    ray.shutdown()


def count_rate(address: str, bodies: list[dict], clients: int, seconds: float) -> float:
    """Requests per second that `clients` get answered together, to the last that was begun."""
    counts = [0] * clients
    contents = [json.dumps(body).encode() for body in bodies]
    headers = {"Content-Type": "application/json"}
    end = 0.0

    def ask(number: int) -> None:
        with httpx2.Client(timeout=600) as http:
            turn = number
            while time.monotonic() < end:
                content = contents[turn % len(contents)]
                answer = http.post(f"{address}/v1/encode", content=content, headers=headers)
                answer.raise_for_status()
                counts[number] += 1
                turn += 1

    for content in contents:  # every image once, so that both are warm
        httpx2.post(f"{address}/v1/encode", content=content, headers=headers, timeout=600)
    began = time.monotonic()
    end = began + seconds
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def time_stream(write: Callable[[Callable[[str], None]], object]) -> tuple[float, float]:
    """Seconds to the first text, and from there to the end."""
    began, first = time.monotonic(), []

    def note(text: str) -> None:
        if text and not first:
            first.append(time.monotonic())

    write(note)
    return first[0] - began, time.monotonic() - first[0]


def compare_chat(
    address: str, model: str, repeats: int, *, num_threads: int, max_tokens: int
) -> dict[str, float]:
    """Ratios of the service to the model called directly, medians of alternating repeats."""
    torch.set_num_threads(num_threads)
    picture = generate_scene(0, split="test", seed=0).image
    mllm = load_mllm(model, device="cpu")
    config = GenerationConfig(max_new_tokens=max_tokens)

    def direct(note: Callable[[str], None]) -> None:
        prompt = encode_prompt((Message("user", PROMPT),), picture, mllm.processor)
        write_answer(mllm, prompt, config, on_text=note)

    def served(note: Callable[[str], None]) -> None:
        for piece in client.stream_chat(picture, PROMPT, sampling=Sampling(max_tokens=max_tokens)):
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


def compare_together(address: str, repeats: int, max_tokens: int) -> float:
    """Seconds of conversations one after another, over those of as many at once."""
    pictures = [generate_scene(n, split="test", seed=0).image for n in range(NUM_CONVERSATIONS)]
    sampling = Sampling(max_tokens=max_tokens)
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


def find_tokenizer(name: str, folder: Path) -> str:
    """``tiny`` itself, or a folder with random weights of another size."""
    if name == "tiny":
        return name
    return str(SAMTok.from_config(PRESETS[name], device="cpu").save_pretrained(folder / name))


def find_model(name: str, folder: Path, num_layers: int) -> str:
    """A model as it is named, or a folder with random weights for ``wide``."""
    if name != "wide":
        return name
    tiny = build_tiny_mllm()
    config = tiny.model.config.to_dict()
    config["text_config"] |= {**WIDE, "num_hidden_layers": num_layers}
    config["vision_config"]["out_hidden_size"] = WIDE["hidden_size"]
    mllm = Mllm(type(tiny.model)(type(tiny.model.config)(**config)), tiny.processor)
    extend_vocabulary(mllm.model, mllm.processor)
    return str(save_mllm(mllm, folder / name))


def compare(args: argparse.Namespace, tokenizer: str, model: str) -> dict[str, float]:
    bodies = make_bodies()
    with listening(make_baseline(SAMTok.from_pretrained(tokenizer))) as address:
        plain = count_rate(address, bodies, args.clients, args.seconds)
    limits = Limits(
        requests_per_minute=1e9,
        burst=10**9,
        max_pending=4 * args.clients,
        max_call_seconds=600,
    )
    config = ServeModelConfig(port=args.port, tokenizer=tokenizer, model=model, limits=limits)
    with serving(config) as address:
        return {
            "encode_rate_over_plain": count_rate(address, bodies, args.clients, args.seconds)
            / plain,
            **compare_chat(
                address,
                model,
                args.repeats,
                num_threads=round(config.chat.cpus_per_replica),
                max_tokens=args.max_tokens,
            ),
            "eight_chats_alone_over_together": compare_together(
                address, max(1, args.repeats // 3), args.max_tokens
            ),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizers", nargs="+", default=["tiny", "hiera_t"])
    parser.add_argument("--models", nargs="+", default=["tiny-chat", "wide"])
    parser.add_argument("--layers", type=int, default=2, help="of the wide model")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--port", type=int, default=8123)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for tokenizer, model in zip(args.tokenizers, args.models, strict=True):
            report = compare(
                args,
                find_tokenizer(tokenizer, Path(folder)),
                find_model(model, Path(folder), args.layers),
            )
            rounded = {name: round(value, 2) for name, value in report.items()}
            print(json.dumps({"tokenizer": tokenizer, "model": model, **rounded}), flush=True)


if __name__ == "__main__":
    main()
