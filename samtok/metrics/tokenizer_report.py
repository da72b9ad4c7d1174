"""What a mask tokenizer is worth on a set of images: one report, from figures added up by image.

`TokenizerTally` adds up what `samtok.metrics.image_measures` finds on each image, in any order;
`TokenizerReport` is what comes of it. `evaluate_tokenizer` does it all in one process.

Letters: N masks.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from samtok.metrics.baselines import BASELINES, Baseline
from samtok.metrics.codebook import code_histogram, count_collisions, usage_from_histogram
from samtok.metrics.image_measures import ImageMeasures, MeasureConfig, measure_image
from samtok.metrics.segmentation import AREA_BINS, FINE_AREA_BINS, area_bin, fine_area_bin
from samtok.metrics.stability import PERTURBATIONS
from samtok.tokenizer.mask_tokenizer import Masks, SAMTok
from samtok.words import CODEBOOK_SIZE, NUM_BOOKS

_DIGITS: Final = 6
"""Of means in a report: below them, the order of adding up shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMeans:
    """Means over a group of masks."""

    num_masks: int
    means: dict[str, float]
    """Name of a figure, as in `ImageMeasures`, → mean, 0..1; empty without masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookUse:
    """Use of one codebook over the evaluated masks; fewer masks than codes must leave some dead."""

    codes_in_use: int
    dead_codes: int
    """Codes that never occur."""
    perplexity: float
    """As many equally frequent codes would look the same."""
    histogram: list[int]
    """How often each code occurs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerReport:
    """The result of an evaluation; every field is JSON, by `to_json`."""

    num_images: int
    """Images with at least one mask measured."""
    overall: GroupMeans
    by_area: dict[str, GroupMeans]
    """COCO's three size bins."""
    by_fine_area: dict[str, GroupMeans]
    """Nine bins, from below 64 pixels up."""
    by_category: dict[str, GroupMeans]
    """Most frequent first."""
    by_group: dict[str, GroupMeans]
    """Groups the caller named; a mask may be in several."""
    books: list[BookUse]
    num_colliding_masks: int
    """Masks that share both words with another mask of their image."""
    baselines: list[dict[str, Any]]
    """Name, title, numbers and bits of each description compared with."""

    @property
    def stability(self) -> dict[str, dict[str, float]]:
        """Perturbation → figure → mean over all masks; empty where it was not measured."""
        split = {
            perturbation: {
                name.removeprefix(f"{perturbation}."): mean
                for name, mean in self.overall.means.items()
                if name.startswith(f"{perturbation}.")
            }
            for perturbation in PERTURBATIONS
        }
        return {perturbation: figures for perturbation, figures in split.items() if figures}

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `json.dumps`; `stability` is written out too."""
        return {**dataclasses.asdict(self), "stability": self.stability}


@dataclass(slots=True)
class _Sums:
    """Sums of figures over a group of masks."""

    num_masks: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, figures: Mapping[str, np.ndarray], chosen: np.ndarray) -> None:
        self.num_masks += int(np.count_nonzero(chosen))
        for name, values in figures.items():
            added = float(values[chosen].sum(dtype=np.float64))
            self.sums[name] = self.sums.get(name, 0.0) + added

    def means(self) -> GroupMeans:
        divided = {
            name: round(total / self.num_masks, _DIGITS)
            for name, total in self.sums.items()
            if self.num_masks
        }
        return GroupMeans(num_masks=self.num_masks, means=divided)


class TokenizerTally:
    """Adds up the figures of images, in any order; its memory does not grow with them.

    Args:
        baselines: what the images were measured with.
        codebook_size: codes per book of the tokenizer.
    """

    def __init__(
        self, *, baselines: Sequence[Baseline] = BASELINES, codebook_size: int = CODEBOOK_SIZE
    ) -> None:
        self._baselines = tuple(baselines)
        self._codebook_size = codebook_size
        self._num_images = 0
        self._num_colliding = 0
        self._histogram = np.zeros((NUM_BOOKS, CODEBOOK_SIZE), dtype=np.int64)
        self._overall = _Sums()
        self._by_area = {name: _Sums() for name in AREA_BINS}
        self._by_fine_area = {name: _Sums() for name in FINE_AREA_BINS}
        self._by_category: dict[str, _Sums] = {}
        self._by_group: dict[str, _Sums] = {}

    def add(
        self,
        measures: ImageMeasures,
        categories: Sequence[str] = (),
        groups: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Add one image.

        Args:
            measures: of its N masks.
            categories: of each mask, N; or none. An empty name is no category.
            groups: name → bool, shape (N,): which masks belong to it.
        """
        num_masks = len(measures.codes)
        if num_masks == 0:
            return
        self._num_images += 1
        self._num_colliding += int(count_collisions(measures.codes).sum())
        self._histogram += code_histogram(measures.codes)
        figures = measures.figures
        self._overall.add(figures, np.ones(num_masks, dtype=bool))
        coarse = np.array([area_bin(area) for area in measures.areas])
        fine = np.array([fine_area_bin(area) for area in measures.areas])
        for name, sums in self._by_area.items():
            sums.add(figures, coarse == name)
        for name, sums in self._by_fine_area.items():
            sums.add(figures, fine == name)
        named = np.array(categories, dtype=object)
        for name in Counter(category for category in categories if category):
            self._by_category.setdefault(name, _Sums()).add(figures, named == name)
        for name, chosen in (groups or {}).items():
            self._by_group.setdefault(name, _Sums()).add(figures, chosen)

    def report(self) -> TokenizerReport:
        """What has been added so far."""
        usage = usage_from_histogram(self._histogram)
        by_frequency = sorted(self._by_category.items(), key=lambda i: (-i[1].num_masks, i[0]))
        return TokenizerReport(
            num_images=self._num_images,
            overall=self._overall.means(),
            by_area=_means(self._by_area),
            by_fine_area=_means(self._by_fine_area),
            by_category=_means(dict(by_frequency)),
            by_group=_means(self._by_group),
            books=[
                BookUse(
                    codes_in_use=used,
                    dead_codes=self._codebook_size - used,
                    perplexity=round(perplexity, _DIGITS),
                    histogram=histogram[: self._codebook_size],
                )
                for used, perplexity, histogram in zip(
                    usage.codes_in_use, usage.perplexity, self._histogram.tolist(), strict=True
                )
            ],
            num_colliding_masks=self._num_colliding,
            baselines=[
                {
                    "name": baseline.name,
                    "title": baseline.title,
                    "num_numbers": baseline.num_numbers,
                    "num_bits": baseline.num_bits,
                }
                for baseline in self._baselines
            ],
        )


def evaluate_tokenizer(
    tokenizer: SAMTok,
    images: Iterable[tuple[np.ndarray, Masks, Sequence[str]]],
    *,
    config: MeasureConfig | None = None,
    seed: int = 0,
) -> TokenizerReport:
    """Evaluate in this process.

    Args:
        tokenizer: any tokenizer.
        images: image, masks and categories, as for `measure_image` and `TokenizerTally.add`.
        config: what to measure.
        seed: of the perturbations; each image gets its own from it and its place in the order.
    """
    config = config or MeasureConfig()
    tally = TokenizerTally(baselines=config.baselines, codebook_size=tokenizer.config.codebook_size)
    for index, (image, masks, categories) in enumerate(images):
        if len(masks):
            measures = measure_image(tokenizer, image, masks, config=config, seed=[seed, index])
            tally.add(measures, categories)
    return tally.report()


def _means(groups: Mapping[str, _Sums]) -> dict[str, GroupMeans]:
    return {name: sums.means() for name, sums in groups.items()}
