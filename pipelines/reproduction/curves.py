"""What the trainings logged on their way, drawn from their runs in MLflow."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from pipelines import manifest
from pipelines.reproduction.plan import Stage
from pipelines.storage import Place
from pipelines.tracking import read_history
from pipelines.tracking_config import TrackingConfig
from samtok.errors import ConfigError
from samtok.plots import curves_plot

logger = logging.getLogger(__name__)

CURVES_FOLDER: Final = "curves"
_DRAWN: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "train_tokenizer": {
        "loss": ("loss",),
        "IoU of held-out masks": ("validation/autoencoder_iou", "validation/iou"),
    },
    "train_sft": {
        "loss, nats per answer token": ("loss", "word_loss", "validation/loss"),
    },
    "train_grpo": {
        "reward": ("reward/total",),
        "held-out gIoU": ("audit/g_iou",),
        "held-out N-acc": ("audit/n_acc",),
        "held-out T-acc": ("audit/t_acc",),
    },
}
"""Of each job, the titles of panels and the metrics in them."""


def draw_curves(output: Place, stages: Iterable[Stage], tracking: TrackingConfig) -> None:
    """Write a picture for each job that trains, with a line for each of its stages.

    Args:
        output: of the whole; pictures go to `curves/JOB.png` in it.
        stages: all of them, finished.
        tracking: where their runs are recorded. Stages without a run are left out; so are, with a
            warning, those whose run cannot be read any more.
    """
    stages = list(stages)
    for job, titles in _DRAWN.items():
        metrics = [metric for group in titles.values() for metric in group]
        runs = {
            stage.name: _read_run(output, stage.name, tracking, metrics)
            for stage in stages
            if stage.job == job
        }
        panels = {
            title: {
                metric if len(runs) == 1 else name: curves[metric]
                for name, curves in runs.items()
                for metric in group
                if metric in curves
            }
            for title, group in titles.items()
        }
        filled = {title: lines for title, lines in panels.items() if lines}
        if filled:
            encoded = io.BytesIO()
            curves_plot(filled).save(encoded, format="PNG")
            output.write_bytes(f"{CURVES_FOLDER}/{job}.png", encoded.getvalue())


def _read_run(
    output: Place, stage: str, tracking: TrackingConfig, metrics: Collection[str]
) -> dict[str, tuple[list[int], list[float]]]:
    """Curves of a stage's run, whose id its manifest has."""
    content = manifest.read_json(output, f"{stage}/{manifest.MANIFEST_FILE}") or {}
    run_id = content.get("summary", {}).get("run_id")
    if run_id is None:
        return {}
    try:
        return read_history(tracking, run_id, metrics)
    except ConfigError as error:  # the page is worth having without
        logger.warning("no curves of %s: %s", stage, error)
        return {}
