"""What every job does around its pipeline function: read settings, run, report, exit."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import tyro
from rich.console import Console, RenderableType

from pipelines.config_file import expand_config_file
from samtok.errors import SamtokError

Config = TypeVar("Config")


class Outcome(NamedTuple):
    """What a job says at its end."""

    report: Sequence[RenderableType]
    """Tables, and lines such as the path of a picture."""
    failure: str | None = None
    """Why the result cannot be relied on; the job then exits with 1."""


def describe_plan(plan: Mapping[str, object]) -> Outcome:
    """What a dry run says: a line for each thing that would be done."""
    return Outcome([f"{name}: {value}" for name, value in plan.items()])


def run_job(
    config_type: type[Config],
    run: Callable[[Config], Outcome],
    *,
    description: str | None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> int:
    """Read the settings from the command line, print them, run, and print the outcome.

    Args:
        config_type: dataclass of settings, with a text under every field.
        run: the job.
        description: shown by ``--help``.
        presets: named settings for ``--preset``; None has no such flag.

    Returns:
        Exit status: 0 well, 1 the result cannot be relied on, 2 the settings cannot be used.
    """
    console = Console()
    try:
        arguments = expand_config_file(sys.argv[1:], presets)
        config = tyro.cli(config_type, description=description, args=arguments)
        console.print_json(json.dumps(dataclasses.asdict(config)))  # type: ignore[call-overload]
        outcome = run(config)
    except SamtokError as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        return 2
    for item in outcome.report:
        console.print(item, soft_wrap=isinstance(item, str), highlight=False)
    if outcome.failure is not None:
        console.print(f"[red]error:[/red] {outcome.failure}", highlight=False)
        return 1
    return 0
