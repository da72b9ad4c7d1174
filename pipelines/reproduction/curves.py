"""What the trainings logged on their way, drawn from their runs in MLflow."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pipelines import manifest
from pipelines.reproduction.plan import Stage
from pipelines.storage import Place
from pipelines.tracking import read_history
from pipelines.tracking_config import TrackingConfig
from samtok.plots import curves_plot

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
        tracking: where their runs are recorded; stages without a run are left out.

    Raises:
        ConfigError: a run is not there.
    """
    for job, titles in _DRAWN.items():
        run_ids = {
            stage.name: _read_run_id(output, stage.name) for stage in stages if stage.job == job
        }
        panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {t: {} for t in titles}
        for name, run_id in run_ids.items():
            if run_id is None:
                continue
            for title, metrics in titles.items():
                for metric, curve in read_history(tracking, run_id, metrics).items():
                    line = metric if len(run_ids) == 1 else name
                    panels[title][line] = curve
        filled = {title: lines for title, lines in panels.items() if lines}
        if filled:
            encoded = io.BytesIO()
            curves_plot(filled).save(encoded, format="PNG")
            output.write_bytes(f"{CURVES_FOLDER}/{job}.png", encoded.getvalue())


def _read_run_id(output: Place, stage: str) -> str | None:
    content = manifest.read_json(output, f"{stage}/{manifest.MANIFEST_FILE}") or {}
    run_id: str | None = content.get("summary", {}).get("run_id")
    return run_id
