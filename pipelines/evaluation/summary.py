"""What an evaluation came to: the report, what was left out, and where the pictures are."""

from __future__ import annotations

from dataclasses import dataclass

from samtok.metrics.tokenizer_report import TokenizerReport


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSummary:
    """What an evaluation found, and what it left out."""

    output: str
    tokenizer: str
    tokenizer_fingerprint: str
    report: TokenizerReport
    num_images_listed: int
    num_images_seen: int
    """Images that came back from the workers, with masks or without."""
    num_masks_listed: int
    """Rows in: masks of these images, good and bad."""
    num_crowds: int
    """Regions of many things (COCO's iscrowd), left out."""
    quarantined: dict[str, int]
    """Masks that could not be measured, by reason."""
    seconds: float
    pictures: list[str]
    """Addresses, the panel first."""

    @property
    def is_accounted(self) -> bool:
        """Every image came back, and rows in = measured + crowds + quarantined."""
        num_out = self.report.overall.num_masks + self.num_crowds + sum(self.quarantined.values())
        return self.num_images_listed == self.num_images_seen and self.num_masks_listed == num_out
