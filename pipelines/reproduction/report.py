"""One page about all of it: tables, pictures, and the commands, as Markdown and as HTML."""

from __future__ import annotations

import html
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from markdown_it import MarkdownIt

from pipelines import manifest
from pipelines.reproduction.curves import CURVES_FOLDER
from pipelines.reproduction.plan import Stage
from pipelines.storage import Place
from samtok.errors import CheckpointError

HTML_FILE: Final = "report.html"
MARKDOWN_FILE: Final = "report.md"
_TITLE: Final = "Speaking in masks: the whole method"
_FIGURES: Final = {
    "referring_segmentation": ("g_iou", "c_iou", "n_acc", "t_acc"),
    "region_captioning": ("names_color", "names_category"),
    "region_vqa": ("accuracy",),
    "grounded_conversation": ("mean_iou", "ap50", "recall"),
    "scene_graph": ("triplet_recall",),
    "interactive_segmentation": ("g_iou",),
}
"""Shown of each task, where it was measured."""
_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
td, th {{ border-bottom: 1px solid #ddd; padding: .3rem .8rem; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
img {{ max-width: 100%; border: 1px solid #ddd }}
pre {{ background: #f6f6f6; padding: .8rem; overflow-x: auto }}
</style></head><body>
{body}</body></html>
"""


def write_report(output: Place, stages: Sequence[Stage], seconds: Mapping[str, float]) -> str:
    """Write both pages.

    Args:
        output: of the whole; the stages' outputs are folders in it.
        stages: all of them, finished.
        seconds: that each took.

    Returns:
        The Markdown.

    Raises:
        CheckpointError: a stage's report is gone.
    """
    markdown = "\n\n".join(_build(output, stages, seconds)) + "\n"
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    output.write_bytes(MARKDOWN_FILE, markdown.encode())
    output.write_bytes(HTML_FILE, _PAGE.format(title=html.escape(_TITLE), body=body).encode())
    return markdown


def _build(output: Place, stages: Sequence[Stage], seconds: Mapping[str, float]) -> Iterator[str]:
    yield f"# {_TITLE}"
    yield "## Models, on what they have not seen"
    yield _compare(_read(output, "evaluation/report.json")["reports"])
    for name in _list_pictures(output, "evaluation"):
        yield f"![answers and their masks]({name})"
    if curves := _list_pictures(output, CURVES_FOLDER):
        yield "## How they learned"
        yield from (f"![figures over training steps]({name})" for name in curves)
    yield "## Two words for a mask"
    yield _include(output, "tokenizer-report/report.md")
    for name in _list_pictures(output, "tokenizer-report"):
        yield f"![masks beside what their words rebuild]({name})"
    yield "## Every figure of the models"
    yield _include(output, "evaluation/report.md")
    yield "## Commands"
    rows = [(stage.name, f"{seconds[stage.name] / 60:.1f}") for stage in stages]
    yield _table(("stage", "minutes"), [*rows, ("all", f"{sum(seconds.values()) / 60:.1f}")])
    yield "```bash\n" + "\n".join(stage.command for stage in stages) + "\n```"
    versions = manifest.describe_code()
    yield _table(("version of", ""), list(versions.items()))


def _compare(reports: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The fine-tuned model, the same blinded, and what GRPO makes of it: mean over seeds."""
    by_grpo = [report for name, report in reports.items() if re.search(r"/grpo-\d+/model$", name)]
    header = ("task", "figure", "fine-tuned", "image blanked")
    rows = []
    for task, figures in _FIGURES.items():
        for figure in figures:
            values = [
                reports[name].get(task, {}).get(figure) for name in ("model", "image blanked")
            ]
            if values[0] is None:
                continue
            row = [task.replace("_", " "), figure.replace("_", " "), *map(_show, values)]
            if by_grpo:
                row.append(_spread([report[task][figure] for report in by_grpo]))
            rows.append(tuple(row))
    after = f"after GRPO (mean ± deviation of {len(by_grpo)})"
    return _table((*header, after) if by_grpo else header, rows)


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{deviation}"


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _include(output: Place, name: str) -> str:
    """A stage's report, its headings two levels lower."""
    if not output.exists(name):
        raise CheckpointError(f"{output.uri(name)} is gone; delete {output.uri()} to start anew")
    text = output.read_bytes(name).decode()
    return re.sub(r"^#", "###", text, flags=re.MULTILINE).strip()


def _read(output: Place, name: str) -> dict[str, Any]:
    content = manifest.read_json(output, name)
    if content is None:
        raise CheckpointError(f"{output.uri(name)} is gone; delete {output.uri()} to start anew")
    return content


def _list_pictures(output: Place, folder: str) -> list[str]:
    """Relative to the page."""
    return [name for name in output.list_files(folder) if name.endswith(".png")]
