"""From planned windows to micro-batches: the Ray Data stage that feeds a training worker.

Nothing here imports torch, which would take 350 MB in every process that opens images.

Letters: B images, n masks of an image, L side of the network input.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.training.corpora import CorpusImage, TrainingCorpus
from pipelines.training.plan import Mixture, Run, Window, shuffle_of
from samtok.errors import ConfigError
from samtok.masks import Rle, decode_rles
from samtok.tokenizer.image_transform import resize_image

_RUN: Final = pa.struct([(name, pa.int64()) for name in Run._fields])
_WINDOW: Final = pa.struct([("lane", pa.int64()), ("number", pa.int64()), ("runs", pa.list_(_RUN))])
TICKETS: Final = pa.schema([("windows", pa.list_(_WINDOW))])
"""Work for one task: windows of the same number, one for each lane of a worker."""

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
class LoadStage:
    """Read windows and cut them into micro-batches, on CPU workers.

    Columns in: `TICKETS`. Columns out: `MICRO_BATCH`; the first of every lane, then the second of
    every lane, and so on. Images without masks are left out, and micro-batches shrink by them.
    """

    corpora: tuple[TrainingCorpus, ...]
    mixture: Mixture
    images_per_lane: int
    """B at most; divides the mixture's window."""
    masks_per_image: int
    """At most this many masks of an image, drawn anew each epoch."""
    image_size: int
    """L."""

    def __call__(self, tickets: pa.Table) -> Iterator[pa.Table]:
        """Micro-batches of the windows of each ticket."""
        for ticket in tickets.to_pylist():
            windows = [
                Window(w["lane"], w["number"], tuple(Run(**run) for run in w["runs"]))
                for w in ticket["windows"]
            ]
            parts = [self._cut(window) for window in windows]
            for lanes in zip(*parts, strict=True):
                rows = [self._pack(images) for images in lanes]
                yield pa.Table.from_pylist(rows, schema=MICRO_BATCH)

    def _cut(self, window: Window) -> list[list[_Chosen]]:
        images: list[_Chosen | None] = []
        for run in window.runs:
            rows = self.corpora[run.corpus].read(run.start, run.stop)
            images += [self._choose(rows, run, row) for row in range(run.start, run.stop)]
        order = shuffle_of(self.mixture, window)
        kept = [image for i in order.tolist() if (image := images[i]) is not None]
        number = self.mixture.images_per_window // self.images_per_lane
        if len(kept) < number:
            raise ConfigError(
                f"only {len(kept)} of {len(images)} neighbouring images have masks, and a window "
                f"makes {number} micro-batches; leave images without masks out of the corpus",
            )
        bounds = np.linspace(0, len(kept), number + 1).round().astype(int)
        return [kept[a:b] for a, b in itertools.pairwise(bounds)]

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
