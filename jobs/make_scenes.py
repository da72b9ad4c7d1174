"""Make a set of synthetic scenes with exact masks and language, as files.

Example:
    python jobs/make_scenes.py --output out/scenes --num-images 200 --seed 1

Writes ``images/*.png``, ``instances.json`` (COCO), ``refs.json`` (in the manner of gRefCOCO),
``texts.jsonl`` (captions, relations, regions, rounds, questions) and the picture ``preview.png``.
The same command gives the same files; the splits never share a scene.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from samtok.errors import ConfigError, SamtokError
from samtok.scenes import SceneConfig, Split, generate_scene
from samtok.scenes.contact_sheet import build_contact_sheet
from samtok.scenes.files import SceneFilesSummary, write_scene_files
from samtok.visualize import overlay_masks

NUM_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class MakeScenesConfig:
    """Settings of the job."""

    output: Path
    """Folder to write to; made if absent, refused if anything is in it."""
    num_images: int = 200
    """Scenes to make; at least 1."""
    seed: int = 0
    """Which world of scenes; any whole number from 0."""
    split: Split = "train"
    """Which of the three disjoint sets of this world."""
    workers: int = 1
    """Processes that draw; at least 1."""
    scenes: Annotated[SceneConfig, tyro.conf.arg(name="")] = field(default_factory=SceneConfig)
    """What scenes look like."""


def main() -> int:
    """Parse, write the files and the preview, print what they hold; returns the exit status."""
    console = Console()
    try:
        config = tyro.cli(MakeScenesConfig, description=__doc__)
        check_output(config.output)
        summary = write_with_progress(config)
    except SamtokError as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        return 2
    shown = [
        generate_scene(index, split=config.split, seed=config.seed, config=config.scenes)
        for index in range(min(NUM_SHOWN, config.num_images))
    ]
    preview = config.output / "preview.png"
    overlays = [overlay_masks(scene.image, scene.masks) for scene in shown]
    build_contact_sheet(shown, overlays, seed=config.seed).save(preview)
    console.print(summary_table(summary))
    console.print(f"picture: {preview}", soft_wrap=True, highlight=False)
    return 0


def check_output(output: Path) -> None:
    """Refuse a folder with something in it: images of two sets would mix there."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"output {output} is not an empty folder; empty it or name another")


def write_with_progress(config: MakeScenesConfig) -> SceneFilesSummary:
    """Write the files while a bar shows how far it is."""
    columns = (TextColumn("scenes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("scenes", total=config.num_images)
        return write_scene_files(
            config.output,
            config.num_images,
            seed=config.seed,
            split=config.split,
            config=config.scenes,
            num_workers=config.workers,
            report=lambda written: progress.update(bar, completed=written),
        )


def summary_table(summary: SceneFilesSummary) -> Table:
    """The counts, a row each."""
    table = Table("what", "how many", title=f"{summary.num_images:,} scenes")
    for name in ("masks", "refs", "texts"):
        for part, count in getattr(summary, name).items():
            table.add_row(f"{name}: {part}", f"{count:,}")
    return table


if __name__ == "__main__":
    sys.exit(main())
