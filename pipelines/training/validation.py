"""What a training is worth on images it does not learn from: figures and pictures.

The workers share the images; rank 0 adds up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pipelines.training.corpora import CorpusImage, TrainingCorpus
from pipelines.training.plan import cut_evenly
from samtok.masks import decode_rles
from samtok.metrics.image_measures import ImageMeasures, MeasureConfig, measure_image
from samtok.metrics.reconstruction import autoencode, reconstruct
from samtok.metrics.segmentation import mask_iou
from samtok.metrics.tokenizer_report import TokenizerReport, TokenizerTally
from samtok.plots import usage_plot
from samtok.tokenizer import SAMTok
from samtok.training.collectives import gather_items, num_processes, process_rank
from samtok.visualize import PanelItem, reconstruction_panel
from samtok.words import format_codes


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationResult:
    """Of one validation; empty but for `iou` on other ranks than 0."""

    iou: float
    """Mean over all masks, the same on every rank, 0..1."""
    metrics: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, Image.Image] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Which images, and how much is drawn."""

    corpus: TrainingCorpus
    num_images: int
    """The first so many of the corpus."""
    panel_images: int = 6
    """Rows of the picture of masks beside their reconstructions."""
    panel_masks: int = 8
    """Masks drawn of each."""

    def run(self, tokenizer: SAMTok, *, quantize: bool) -> ValidationResult:
        """Measure on all workers together.

        Args:
            tokenizer: in training; left in evaluation mode.
            quantize: measure the codes; False measures the autoencoder that comes before them.
        """
        tokenizer.network.eval()
        total = min(self.num_images, self.corpus.starts[-1])
        images = self.corpus.read(*cut_evenly(total, num_processes())[process_rank()])
        with_masks = [image for image in images if image.masks]
        if not quantize:
            return self._measure_autoencoder(tokenizer, with_masks)
        own = [measure(tokenizer, image) for image in with_masks]
        tally = TokenizerTally(baselines=(), codebook_size=tokenizer.config.codebook_size)
        for measures in gather_items(own):
            tally.add(measures)
        report = tally.report()
        iou = report.overall.means["iou"]
        if process_rank() != 0:
            return ValidationResult(iou=iou)
        items = [self._draw(tokenizer, image) for image in with_masks[: self.panel_images]]
        histograms = [book.histogram for book in report.books]
        pictures = {
            "panel": reconstruction_panel(items),
            "code_usage": usage_plot(histograms),
        }
        return ValidationResult(iou=iou, metrics=list_metrics(report), pictures=pictures)

    def _measure_autoencoder(
        self, tokenizer: SAMTok, images: list[CorpusImage]
    ) -> ValidationResult:
        overlaps = []
        for image in images:
            masks = decode_rles(image.masks, image.height, image.width)
            embeddings = tokenizer.embed(_pixels_of(image))
            overlaps.append(mask_iou(autoencode(tokenizer, embeddings, masks), masks))
        iou = float(np.concatenate(gather_items(overlaps)).mean())
        return ValidationResult(iou=iou, metrics={"validation/autoencoder_iou": iou})

    def _draw(self, tokenizer: SAMTok, image: CorpusImage) -> PanelItem:
        masks = decode_rles(image.masks[: self.panel_masks], image.height, image.width)
        pixels = _pixels_of(image)
        rebuilt = reconstruct(tokenizer, tokenizer.embed(pixels), masks)
        return PanelItem(
            image=pixels,
            masks=masks,
            reconstructions=rebuilt.masks,
            words=format_codes(rebuilt.codes),
            iou=rebuilt.iou,
        )


def measure(tokenizer: SAMTok, image: CorpusImage) -> ImageMeasures:
    """Figures of one image's masks, without baselines, which do not change while training."""
    return measure_image(
        tokenizer, _pixels_of(image), image.masks, config=MeasureConfig(baselines=())
    )


def list_metrics(report: TokenizerReport) -> dict[str, float]:
    """A report as MLflow shows it: one number a name."""
    metrics = {f"validation/{name}": value for name, value in report.overall.means.items()}
    for name, group in report.by_area.items():
        if group.num_masks:
            metrics[f"validation/iou_{name}"] = group.means["iou"]
    for number, book in enumerate(report.books):
        metrics[f"validation/perplexity_book_{number}"] = book.perplexity
        metrics[f"validation/dead_codes_book_{number}"] = book.dead_codes
    num_masks = report.overall.num_masks
    metrics["validation/colliding_share"] = report.num_colliding_masks / num_masks
    return metrics


def _pixels_of(image: CorpusImage) -> np.ndarray:
    assert image.pixels is not None  # validation reads a Corpus, not cached embeddings
    return image.pixels
