"""Which image a training reads when: a pure function of sizes, weights and a seed.

A step's batch is made of *lanes*. Each lane is an endless stream of images of its own, so that any
number of workers (a divisor of the number of lanes) reads the same images at the same step, each
worker only its own, and a resumed run starts in the middle without reading what came before.

A corpus is a list of *units*, runs of images that are read together: whole row groups, where they
are not too large. Every epoch of a corpus deals its units out to the lanes in a new random order. A
lane mixes its corpora by weight and shuffles within *windows* of a few hundred images.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from pipelines.storage import MAX_ROWS_PER_GROUP
from samtok.errors import ConfigError

_UNITS_PER_LANE = 8
"""A corpus is cut into at least so many units per lane, so that lanes get about equally many."""
_GOLDEN_RATIO = 0.6180339887498949


class Run(NamedTuple):
    """Images [start, stop) of a corpus, read in one go."""

    corpus: int
    """Position of the corpus in the list."""
    start: int
    stop: int
    epoch: int
    """How often this lane has begun the corpus before; picks other masks of the same image."""


class Window(NamedTuple):
    """Images that a lane shuffles together."""

    lane: int
    number: int
    """Of the window in its lane, from 0."""
    runs: tuple[Run, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """The corpora of a training, and how their images are dealt out."""

    starts: tuple[Sequence[int], ...]
    """Of each corpus, the positions where something begins that is best read in one go, from 0, and
    last its number of images."""
    weights: tuple[float, ...]
    """Shares of the corpora in what is read; need not sum to 1."""
    num_lanes: int
    """Micro-batches in a step's batch."""
    images_per_window: int
    """Images a lane shuffles together."""
    images_per_unit: int = MAX_ROWS_PER_GROUP
    """At most this many neighbouring images are read together."""
    seed: int = 0
    """Of all orders."""

    @classmethod
    def of(cls, starts: Iterable[Sequence[int]], weights: Sequence[float], **settings: int) -> Self:
        """Of corpora with these starts; without weights, they count by their numbers of images."""
        starts = tuple(starts)
        return cls(
            starts=starts,
            weights=tuple(weights) or tuple(float(each[-1]) for each in starts),
            **settings,
        )

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.weights) or not self.starts:
            raise ConfigError(
                f"{len(self.starts)} corpora have {len(self.weights)} weights; give one each"
            )
        if min(self.weights) <= 0:
            raise ConfigError(f"corpus weights are {self.weights}; each must be above 0")
        fewest = min(starts[-1] for starts in self.starts)
        if fewest < self.num_lanes:
            raise ConfigError(
                f"a corpus has {fewest} images and a step {self.num_lanes} micro-batches; it needs "
                "at least one image for each"
            )


def plan_windows(mixture: Mixture, lane: int, *, first: int = 0) -> Iterator[Window]:
    """Windows of a lane from number `first` on, without end.

    Args:
        mixture: what is dealt out.
        lane: 0 to num_lanes - 1.
        first: number of the first window wanted; earlier ones are counted, not read.
    """
    streams = [_plan_runs(mixture, corpus, lane) for corpus in range(len(mixture.starts))]
    rest: list[Run | None] = [None] * len(streams)
    for number in itertools.count():
        runs: list[Run] = []
        for corpus, wanted in enumerate(_share_out(mixture, lane, number)):
            taken, rest[corpus] = _take(streams[corpus], rest[corpus], wanted)
            runs += taken
        if number >= first:
            yield Window(lane, number, tuple(runs))


def shuffle_of(mixture: Mixture, window: Window) -> np.ndarray:
    """Order in which a window's images are used; int64, a permutation of its images."""
    order = np.random.default_rng([mixture.seed, 1, window.lane, window.number])
    return order.permutation(sum(run.stop - run.start for run in window.runs))


def _plan_runs(mixture: Mixture, corpus: int, lane: int) -> Iterator[Run]:
    """Units of a corpus that fall to a lane, epoch after epoch."""
    starts = mixture.starts[corpus]
    size = starts[-1] // (_UNITS_PER_LANE * mixture.num_lanes)
    units = _cut_into_units(starts, max(1, min(mixture.images_per_unit, size)))
    for epoch in itertools.count():
        order = np.random.default_rng([mixture.seed, 0, corpus, epoch]).permutation(len(units))
        for position in order[lane :: mixture.num_lanes].tolist():
            start, stop = units[position]
            yield Run(corpus, start, stop, epoch)


def _cut_into_units(starts: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Runs of at most `size` images that end at a start wherever one is near enough."""
    units, begin = [], 0
    while begin < starts[-1]:
        end = starts[bisect_right(starts, begin + size) - 1]
        if end <= begin:
            end = begin + size
        units.append((begin, end))
        begin = end
    return units


def _share_out(mixture: Mixture, lane: int, window: int) -> list[int]:
    """Images of each corpus in a window: a low-discrepancy draw, even over any stretch."""
    positions = window * mixture.images_per_window + np.arange(mixture.images_per_window)
    start = np.random.default_rng([mixture.seed, 2, lane]).random()
    draws = (start + positions * _GOLDEN_RATIO) % 1.0
    bounds = np.cumsum(mixture.weights) / sum(mixture.weights)
    chosen = np.searchsorted(bounds[:-1], draws, side="right")
    counts: list[int] = np.bincount(chosen, minlength=len(bounds)).tolist()
    return counts


def _take(stream: Iterator[Run], rest: Run | None, number: int) -> tuple[list[Run], Run | None]:
    """The next `number` images of a stream, and what is left of the last unit."""
    taken: list[Run] = []
    while number > 0:
        run = rest if rest is not None else next(stream)
        length = min(number, run.stop - run.start)
        taken.append(run._replace(stop=run.start + length))
        rest = run._replace(start=run.start + length) if run.start + length < run.stop else None
        number -= length
    return taken, rest


def check_lanes(num_lanes: int, num_workers: int) -> None:
    """Every worker takes equally many lanes.

    Raises:
        ConfigError: it does not come out even.
    """
    if num_lanes % num_workers:
        raise ConfigError(
            f"a step has {num_lanes} micro-batches and the training {num_workers} workers; make "
            "the first a multiple of the second, so that every worker has equally many"
        )


def cut_evenly(length: int, number: int) -> list[tuple[int, int]]:
    """[start, stop) of parts of a length that differ by at most one."""
    bounds = np.linspace(0, length, number + 1).round().astype(int).tolist()
    return list(itertools.pairwise(bounds))


def lanes_of(num_lanes: int, rank: int, num_workers: int) -> Sequence[int]:
    """Lanes of a worker, in order."""
    share = num_lanes // num_workers
    return range(rank * share, (rank + 1) * share)
