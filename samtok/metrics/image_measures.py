"""What is measured of every mask of one image when a tokenizer is evaluated.

`samtok.metrics.tokenizer_report` adds the figures up; between the two they are small enough to
travel from the workers of a cluster.

Letters: N masks, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from samtok.masks import as_mask_array, compute_areas
from samtok.metrics.baselines import BASELINES, Baseline, rebuild_all
from samtok.metrics.boundary import boundary_f_score
from samtok.metrics.reconstruction import first_code_iou, reconstruct
from samtok.metrics.segmentation import mask_iou
from samtok.metrics.stability import DEFAULT_NOISE_SIGMA, Seed, add_noise, compare_disturbed
from samtok.tokenizer.embeddings import ImageEmbeddings
from samtok.tokenizer.mask_tokenizer import Masks, SAMTok

IOU: Final = "iou"
FIRST_CODE_IOU: Final = "first_code_iou"
BOUNDARY_F: Final = "boundary_f"

_MASK_PIXELS_AT_ONCE: Final = 1 << 25


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureConfig:
    """What is measured beside reconstruction."""

    baselines: tuple[Baseline, ...] = BASELINES
    """Descriptions to compare with; empty for none."""
    stability: bool = False
    """Disturb masks and image and encode again: two backbone passes instead of one, four encodings
    instead of one and five decodings instead of two."""
    noise_sigma: float = DEFAULT_NOISE_SIGMA
    """Noise on the image for `stability`, in units of 0..255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMeasures:
    """Figures of the N masks of one image."""

    codes: np.ndarray
    """int64, shape (N, 2)."""
    areas: np.ndarray
    """int64, shape (N,), pixels."""
    figures: dict[str, np.ndarray]
    """Name → float32, shape (N,), 0..1: ``iou``, ``first_code_iou``, ``boundary_f``, the IoU of
    each baseline by its name, and stability as ``shift.pair_kept`` and so on."""


def measure_image(
    tokenizer: SAMTok,
    image: np.ndarray,
    masks: Masks,
    *,
    config: MeasureConfig | None = None,
    seed: Seed = 0,
) -> ImageMeasures:
    """Measure the masks of one image, in chunks of bounded memory.

    Args:
        tokenizer: any tokenizer.
        image: uint8, shape (H, W, 3), RGB.
        masks: N of them, bool (N, H, W) or COCO RLEs, none empty; N is 1 or more.
        config: what to measure.
        seed: of the perturbations of this image.

    Raises:
        ValueError: there are no masks.
        InputError: a mask cannot be read, has another size than the image, or is empty.
    """
    if len(masks) == 0:
        raise ValueError("an image without masks has nothing to measure")
    config = config or MeasureConfig()
    height, width = image.shape[:2]
    embeddings = tokenizer.embed(image)
    noisy = None
    if config.stability:
        noisy = tokenizer.embed(add_noise(image, config.noise_sigma, seed=seed))
    step = max(1, _MASK_PIXELS_AT_ONCE // (height * width))
    parts = [
        _measure_chunk(
            tokenizer,
            embeddings,
            noisy,
            as_mask_array(masks[start : start + step], height, width),
            baselines=config.baselines,
            seed=[*(seed if isinstance(seed, Sequence) else [seed]), start],
        )
        for start in range(0, len(masks), step)
    ]
    return ImageMeasures(
        codes=np.concatenate([part.codes for part in parts]),
        areas=np.concatenate([part.areas for part in parts]),
        figures={
            name: np.concatenate([part.figures[name] for part in parts])
            for name in parts[0].figures
        },
    )


def _measure_chunk(
    tokenizer: SAMTok,
    embeddings: ImageEmbeddings,
    noisy: ImageEmbeddings | None,
    masks: np.ndarray,
    *,
    baselines: Sequence[Baseline],
    seed: Seed,
) -> ImageMeasures:
    rebuilt = reconstruct(tokenizer, embeddings, masks)
    figures = {
        IOU: rebuilt.iou,
        FIRST_CODE_IOU: first_code_iou(tokenizer, embeddings, rebuilt.codes, masks),
        BOUNDARY_F: boundary_f_score(rebuilt.masks, masks),
    }
    for name, described in rebuild_all(masks, baselines).items():
        figures[name] = mask_iou(described, masks)
    if noisy is not None:
        disturbed = compare_disturbed(tokenizer, embeddings, noisy, masks, rebuilt, seed=seed)
        for perturbation, stability in disturbed.items():
            for name, values in stability._asdict().items():
                figures[f"{perturbation}.{name}"] = values.astype(np.float32)
    return ImageMeasures(codes=rebuilt.codes, areas=compute_areas(masks), figures=figures)
