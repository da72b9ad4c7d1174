"""Encode and decode: one backbone pass per image against the published one pass per mask.

Both ways run on the same weights in the same process. The published way repeats the image for each
mask, so for N masks it pays N backbone passes, and runs them with sam2's own image encoder; for
decode it also brings every candidate mask to full size. Ours embeds once, by
`samtok.tokenizer.image_pass`. With separately timed parts, backbone b and heads h (per mask), the
most that can be gained is N (b + h) / (b + N h). The image already has the network's input size, as
resizing is paid once either way and belongs to neither part.

The limit takes a pass over N images to cost N passes over one. With one thread, which is what an
actor of the job has unless told otherwise, that holds. With more it does not: a batch keeps all
threads busy where the tiny network's single image cannot, so the published way, which has nothing
but batches, gains from threads what the limit does not know of.

    python tests/benchmarks/encode.py [--configs tiny hiera_t] [--masks 1 8 32] [--threads 1]

Prints one JSON object per configuration, direction and N. The published way at N masks is timed
whole for tiny; for larger sizes on at most `--published-masks` of them, scaled up linearly (stated
in the output), as its batch holds one image row per mask.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from samtok.masks import compute_boxes
from samtok.tokenizer import PRESETS, SAMTok
from samtok.tokenizer.image_transform import normalize_images
from samtok.tokenizer.network import ImageFeatures, make_mask_prompts, normalize_boxes


def random_masks(count: int, side: int) -> np.ndarray:
    """Ellipses of random place and size; bool, shape (count, side, side)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    masks = []
    for _ in range(count):
        y, x = rng.uniform(0.2, 0.8, 2) * side
        a, b = rng.uniform(0.04, 0.25, 2) * side
        masks.append(((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1)
    return np.stack(masks)


class PublishedWay:
    """The image repeated once per mask, through sam2's own image encoder."""

    def __init__(self, tokenizer: SAMTok) -> None:
        self.network = tokenizer.network
        self.side = tokenizer.config.image_size

    def features(self, image: np.ndarray, count: int) -> ImageFeatures:
        pixels = torch.from_numpy(image).expand(count, -1, -1, -1)
        sam2 = self.network.sam2
        fine, middle, coarse = sam2.forward_image(normalize_images(pixels))["backbone_fpn"]
        return ImageFeatures(coarse + sam2.no_mem_embed.view(1, -1, 1, 1), fine, middle)

    @torch.no_grad()
    def encode(self, image: np.ndarray, masks: np.ndarray) -> torch.Tensor:
        count = len(masks)
        vectors = self.network.encode_masks(
            self.features(image, count),
            make_mask_prompts(torch.from_numpy(masks), self.side // 4),
            normalize_boxes(torch.from_numpy(compute_boxes(masks)), self.side, self.side),
            torch.arange(count),
        )
        return self.network.quantizer(vectors).codes

    @torch.no_grad()
    def decode(self, image: np.ndarray, codes: torch.Tensor) -> torch.Tensor:
        count = len(codes)
        decoded = self.network.decode_vectors(
            self.features(image, count), self.network.quantizer.look_up(codes), torch.arange(count)
        )
        F.interpolate(decoded.candidates, size=(self.side, self.side), mode="bilinear")
        full = F.interpolate(
            decoded.logits.unsqueeze(1), size=(self.side, self.side), mode="bilinear"
        )
        return full.squeeze(1) > 0.5


def median_seconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median wall time of each call; they take turns, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(of_one) for name, of_one in times.items()}


def measure(name: str, direction: str, count: int, repeats: int, published_masks: int) -> dict:
    """One row: both ways, their ratio, and the limit from separately timed parts."""
    tokenizer = SAMTok.from_config(PRESETS[name], device="cpu")
    published = PublishedWay(tokenizer)
    side = tokenizer.config.image_size
    image = np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8)
    masks = random_masks(count, side)
    embeddings = tokenizer.embed(image)
    codes = tokenizer.encode(embeddings, masks)
    timed = count if name == "tiny" else min(count, published_masks)
    if direction == "encode":
        calls = {
            "ours": lambda: tokenizer.encode(image, masks),
            "heads": lambda: tokenizer.encode(embeddings, masks),
            "one_head": lambda: tokenizer.encode(embeddings, masks[:1]),
            "published": lambda: published.encode(image, masks[:timed]),
        }
        agree = torch.equal(published.encode(image, masks[:timed]), codes[:timed])
    else:
        calls = {
            "ours": lambda: tokenizer.decode(image, codes),
            "heads": lambda: tokenizer.decode(embeddings, codes),
            "one_head": lambda: tokenizer.decode(embeddings, codes[:1]),
            "published": lambda: published.decode(image, codes[:timed]),
        }
        ours = tokenizer.decode(embeddings, codes[:timed])
        agree = bool((published.decode(image, codes[:timed]) != ours).float().mean() < 2e-4)
    seconds = median_seconds({"backbone": lambda: tokenizer.embed(image), **calls}, repeats)
    backbone, heads = seconds["backbone"], seconds["heads"] / count
    limit = count * (backbone + heads) / (backbone + count * heads)
    ratio = seconds["published"] * count / timed / seconds["ours"]
    return {
        "config": name,
        "direction": direction,
        "masks": count,
        "threads": torch.get_num_threads(),
        "same_result": agree,
        "ratio_published_over_ours": round(ratio, 2),
        "limit": round(limit, 2),
        "share_of_limit": round(ratio / limit, 3),
        "backbone_seconds": round(backbone, 4),
        "head_seconds_per_mask": round(heads, 5),
        "head_seconds_alone": round(seconds["one_head"], 5),
        "published_timed_on_masks": timed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", default=["tiny", "hiera_t"])
    parser.add_argument("--masks", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--threads", type=int, default=1, help="of torch, within an operator")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--published-masks", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.configs:
        for direction in ("encode", "decode"):
            for count in args.masks:
                row = measure(name, direction, count, args.repeats, args.published_masks)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
