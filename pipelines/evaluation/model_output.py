"""What an evaluation of a language model leaves behind: files, and a run in MLflow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from PIL import Image

from pipelines import columns, manifest
from pipelines.evaluation.conversations import ConversationSource
from pipelines.evaluation.model_config import EvaluateModelConfig
from pipelines.evaluation.model_pictures import Samples
from pipelines.evaluation.model_tables import ModelSummary, build_model_sections
from pipelines.evaluation.sections import as_markdown
from pipelines.evaluation.variants import Variant
from pipelines.storage import Place
from pipelines.tracking import RunTracker
from samtok.metrics.task_figures import Figures

STAGE: Final = "evaluate_model"
REPORT_FILE: Final = "report.json"
MARKDOWN_FILE: Final = "report.md"
ANSWERS_FILE: Final = "answers.parquet"
QUARANTINE_FOLDER: Final = "quarantine"

ANSWERS: Final = pa.schema(
    [
        ("variant", pa.string()),
        ("conversation_id", pa.string()),
        ("task", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("targets", pa.list_(pa.string())),
    ]
)
"""What every variant said, for those who want to look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantResult:
    """What came back of a variant."""

    variant: Variant
    report: dict[str, Figures]
    rows: list[dict[str, Any]]
    """Its answers, by conversation id."""
    quarantined: list[dict[str, Any]]
    samples: Samples
    seconds: float


def write_results(
    output: Place,
    config: EvaluateModelConfig,
    source: ConversationSource,
    summary: ModelSummary,
    results: list[VariantResult],
    pictures: dict[str, Image.Image],
) -> None:
    """Write answers, quarantine, pictures and report, and the manifest last."""
    quarantined = [row for result in results for row in result.quarantined]
    if quarantined:
        table = pa.Table.from_pylist(quarantined, schema=columns.QUARANTINE)
        output.write_parquet(f"{QUARANTINE_FOLDER}/part-000000.parquet", table)
    output.write_parquet(ANSWERS_FILE, pa.Table.from_pylist(_list_answers(results), schema=ANSWERS))
    for name, picture in pictures.items():
        output.write_png(name, picture)
    figures = {
        "model": config.model,
        "tokenizer_fingerprint": summary.tokenizer_fingerprint,
        "conversations": source.identity(),
        "reports": summary.reports,
    }
    manifest.write_json(output, REPORT_FILE, figures)
    markdown = as_markdown("Evaluation of a language model", build_model_sections(summary))
    output.write_bytes(MARKDOWN_FILE, markdown.encode())
    counts = dataclasses.asdict(summary)
    del counts["reports"]
    manifest.write_json(
        output,
        manifest.MANIFEST_FILE,
        {
            "stage": STAGE,
            "config": dataclasses.asdict(config),
            "identity": source.identity(),
            "tokenizer_fingerprint": summary.tokenizer_fingerprint,
            "counts": counts,
            "versions": manifest.describe_code(),
        },
    )


def _list_answers(results: list[VariantResult]) -> list[dict[str, Any]]:
    return [
        {"variant": result.variant.name}
        | {name: row[name] for name in ("conversation_id", "task", "answers", "targets")}
        for result in results
        for row in result.rows
    ]


def track_results(
    tracker: RunTracker, summary: ModelSummary, pictures: dict[str, Image.Image]
) -> None:
    """Record figures and pictures; those of the model itself under plain names."""
    for number, (variant, report) in enumerate(summary.reports.items()):
        prefix = "" if number == 0 else f"{_metric_name(variant)}/"
        metrics = {
            f"{prefix}{task}/{name}": value
            for task, figures in report.items()
            for name, value in figures.items()
        }
        tracker.log_metrics(metrics, step=0)
    for name, picture in pictures.items():
        tracker.log_picture(name.removesuffix(".png"), picture, step=0)
    tracker.log_json(REPORT_FILE, summary.reports)


def _metric_name(variant: str) -> str:
    """A variant's name as MLflow takes it; of a folder its last part."""
    last = variant.rstrip("/").rsplit("/", 1)[-1]
    return "".join(c if c.isalnum() or c in "_-. " else "-" for c in last)
