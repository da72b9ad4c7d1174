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
_Reports = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Model → task → figure → value."""
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
    yield "## The model, on what it has not seen"
    yield _compare(_read(output, "evaluation/report.json")["reports"])
    for name in _list_pictures(output, "evaluation"):
        yield f"![answers and their masks]({name})"
    rewarded = any(stage.name == "grpo-evaluation" for stage in stages)
    if rewarded:
        yield "## What GRPO makes of it"
        yield _compare_seeds(_read(output, "grpo-evaluation/report.json")["reports"])
    if curves := _list_pictures(output, CURVES_FOLDER):
        yield "## How they learned"
        yield from (f"![figures over training steps]({name})" for name in curves)
    yield "## Two words for a mask"
    yield _include(output, "tokenizer-report/report.md")
    for name in _list_pictures(output, "tokenizer-report"):
        yield f"![masks beside what their words rebuild]({name})"
    yield "## Every figure of the models"
    yield _include(output, "evaluation/report.md")
    if rewarded:
        yield _include(output, "grpo-evaluation/report.md")
    yield "## Commands"
    rows = [(stage.name, f"{seconds[stage.name] / 60:.1f}") for stage in stages]
    yield _table(("stage", "minutes"), [*rows, ("all", f"{sum(seconds.values()) / 60:.1f}")])
    yield "```bash\n" + "\n".join(stage.command for stage in stages) + "\n```"
    versions = manifest.describe_code()
    yield _table(("version of", ""), list(versions.items()))


def _compare(reports: _Reports) -> str:
    """The fine-tuned model, and the same blinded."""
    model, blinded = reports["model"], reports["image blanked"]
    rows = [
        (*_name(task, figure), _show(model[task][figure]), _show(blinded[task][figure]))
        for task, figure in _list_figures(model)
    ]
    return _table(("task", "figure", "fine-tuned", "image blanked"), rows)


def _compare_seeds(reports: _Reports) -> str:
    """The fine-tuned model, and what GRPO makes of it with each seed."""
    before = reports["model"]
    seeds = [report for name, report in reports.items() if name != "model"]
    rows = []
    for task, figure in _list_figures(before):
        values = [report[task][figure] for report in seeds]
        change = statistics.fmean(values) - before[task][figure]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        shown = ", ".join(map(_show, values))
        rows.append(
            (*_name(task, figure), _show(before[task][figure]), shown, f"{change:+.3f}{spread}")
        )
    header = ("task", "figure", "fine-tuned", "after GRPO, by seed", "change ± deviation")
    return _table(header, rows)


def _list_figures(report: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Tasks and figures that were measured."""
    for task, figures in _FIGURES.items():
        for figure in figures:
            if report.get(task, {}).get(figure) is not None:
                yield task, figure


def _name(task: str, figure: str) -> tuple[str, str]:
    return task.replace("_", " "), figure.replace("_", " ")


def _show(value: float) -> str:
    return f"{value:.3f}"


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
