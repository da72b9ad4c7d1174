"""From planned windows to micro-batches: the Ray Data stage that feeds a training worker.

Nothing here imports torch, which would take 350 MB in every process that opens images.

Letters: B images, n masks of an image, L side of the network input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.training.corpora import CorpusImage, TrainingCorpus
from pipelines.training.plan import Run, Window
from pipelines.training.window_stage import WindowStage
from samtok.errors import ConfigError
from samtok.masks import Rle, decode_rles
from samtok.tokenizer.image_transform import resize_image

MICRO_BATCH: Final = pa.schema(
    [
        ("pixels", pa.large_binary()),  # uint8 (B, L, L, 3); null with cached maps
        ("maps", pa.list_(pa.large_binary())),  # float16, image, fine and middle of B images
        ("heights", pa.list_(pa.int32())),
        ("widths", pa.list_(pa.int32())),
        ("num_masks", pa.list_(pa.int32())),
        ("masks", pa.list_(pa.large_binary())),  # per image: bits of its n masks
    ]
)
"""A lane's part of a step's batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadStage(WindowStage):
    """Read windows of images and cut them into micro-batches, on CPU workers.

    Columns out: `MICRO_BATCH`. Images without masks are left out, and micro-batches shrink by them.
    """

    corpora: tuple[TrainingCorpus, ...]
    masks_per_image: int
    """At most this many masks of an image, drawn anew each epoch."""
    image_size: int
    """L."""

    @property
    def schema(self) -> pa.Schema:
        """`MICRO_BATCH`."""
        return MICRO_BATCH

    def load(self, window: Window) -> Iterator[dict[str, Any]]:
        """The images of a window, some of their masks each."""
        images: list[_Chosen | None] = []
        for run in window.runs:
            rows = self.corpora[run.corpus].read(run.start, run.stop)
            images += [self._choose(rows, run, row) for row in range(run.start, run.stop)]
        kept = self.shuffle(window, images)
        if len(kept) < self.batches_per_window:
            raise ConfigError(
                f"only {len(kept)} of {len(images)} neighbouring images have masks, and a window "
                f"makes {self.batches_per_window} micro-batches; leave images without masks out of "
                "the corpus",
            )
        yield from map(self._pack, _deal(kept, self.batches_per_window))

    def _choose(self, rows: Iterator[CorpusImage], run: Run, row: int) -> _Chosen | None:
        image = next(rows)
        if not image.masks:
            return None
        seed = [self.mixture.seed, 3, run.corpus, row, run.epoch]
        order = np.random.default_rng(seed).permutation(len(image.masks))
        kept = sorted(order[: self.masks_per_image].tolist())
        pixels = None if image.pixels is None else resize_image(image.pixels, self.image_size)
        return _Chosen(
            pixels, image.maps, [image.masks[i] for i in kept], image.height, image.width
        )

    def _pack(self, images: Sequence[_Chosen]) -> dict[str, Any]:
        has_maps = images[0].maps is not None
        return {
            "pixels": None if has_maps else b"".join(i.pixels.tobytes() for i in images),
            "maps": [
                b"".join(image.maps[level].tobytes() for image in images) for level in range(3)
            ]
            if has_maps
            else None,
            "heights": [image.height for image in images],
            "widths": [image.width for image in images],
            "num_masks": [len(image.masks) for image in images],
            "masks": [
                np.packbits(decode_rles(image.masks, image.height, image.width)).tobytes()
                for image in images
            ],
        }


@dataclass(frozen=True, slots=True)
class _Chosen:
    """An image as it goes into a micro-batch."""

    pixels: Any
    maps: Any
    masks: list[Rle]
    height: int
    width: int


def _deal(images: Sequence[_Chosen], number: int) -> list[list[_Chosen]]:
    """Deal images out to micro-batches of as many images and about as many masks.

    Every step waits for the worker with most of them.
    """
    ordered = sorted(images, key=lambda image: -len(image.masks))
    batches: list[list[_Chosen]] = [[] for _ in range(number)]
    for start in range(0, len(ordered), number):
        for batch, image in zip(batches, ordered[start : start + number], strict=False):
            batch.append(image)
        batches.reverse()  # the one that got most gets least in the next round
    return batches
