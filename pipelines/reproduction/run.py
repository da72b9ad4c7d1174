"""Run the stages one after another, each as the command a person would type, and report.

A stage is a process of its own, so that what it leaves in memory goes with it, and what it does is
what its job does. All of them work on one cluster and are recorded below one run.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

import ray
from rich.console import Console

from pipelines import manifest
from pipelines.cluster import connect
from pipelines.reproduction.curves import draw_curves
from pipelines.reproduction.plan import TRACKED_JOBS, ReproduceConfig, Stage, plan_stages
from pipelines.reproduction.report import HTML_FILE, MARKDOWN_FILE, write_report
from pipelines.storage import Place
from pipelines.tracking import RunTracker, check_tracking
from samtok.errors import CheckpointError

STAGE: Final = "reproduce_method"
_STAGES_FILE: Final = "_stages.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReproductionSummary:
    """What came of it."""

    report: str
    """Address of the page."""
    seconds: dict[str, float]
    """Wall time of each stage, in the run that finished it."""
    run_id: str | None


def run_reproduction(config: ReproduceConfig) -> ReproductionSummary:
    """Run all stages; those that an earlier run finished with the same flags are left out.

    Raises:
        ConfigError: the run cannot be recorded.
        CheckpointError: a stage failed; the same command goes on with it.
    """
    output = Place.at(config.output)
    stages = plan_stages(config)
    tracking = check_tracking(config.tracking)
    known = manifest.read_json(output, _STAGES_FILE) or {"run_id": None, "finished": {}}
    finished: dict[str, dict[str, Any]] = known["finished"]
    named = dataclasses.replace(tracking, run_name=tracking.run_name or STAGE)
    with RunTracker.open(named, known["run_id"], tags={"stage": STAGE}) as tracker:
        tracker.log_params(dataclasses.asdict(config))
        manifest.write_json(output, _STAGES_FILE, {**known, "run_id": tracker.run_id})
        connect()
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        console = Console()
        for number, stage in enumerate(stages, start=1):
            title = f"stage {number} of {len(stages)}, {stage.name}"
            if finished.get(stage.name, {}).get("command") == stage.command:
                console.print(f"{title}: finished earlier")
                continue
            console.rule(title)
            console.print(stage.command, soft_wrap=True, highlight=False)
            seconds = _run(stage, _track(stage, config, tracker.run_id), environment)
            finished[stage.name] = {"command": stage.command, "seconds": seconds}
            manifest.write_json(
                output, _STAGES_FILE, {"run_id": tracker.run_id, "finished": finished}
            )
        seconds_of = {stage.name: finished[stage.name]["seconds"] for stage in stages}
        if tracking.enabled:
            draw_curves(output, stages, tracking)
        markdown = write_report(output, stages, seconds_of)
        tracker.log_text(MARKDOWN_FILE, markdown)
        tracker.log_metrics({f"seconds/{name}": s for name, s in seconds_of.items()}, step=0)
        return ReproductionSummary(
            report=output.uri(HTML_FILE),
            seconds=seconds_of,
            run_id=tracker.run_id,
        )


def _track(stage: Stage, config: ReproduceConfig, run_id: str | None) -> list[str]:
    """Flags by which a stage's run is recorded below that of the whole."""
    if stage.job not in TRACKED_JOBS:
        return []
    if run_id is None:
        return ["--tracking.no-enabled"]
    uri = [] if config.tracking.uri is None else ["--tracking.uri", config.tracking.uri]
    return [
        *uri,
        *("--tracking.experiment", config.tracking.experiment),
        *("--tracking.run-name", stage.name, "--tracking.parent-run-id", run_id),
    ]


def _run(stage: Stage, tracking: list[str], environment: dict[str, str]) -> float:
    """Seconds it took.

    Raises:
        CheckpointError: it ended with another status than 0.
    """
    began = time.monotonic()
    command = [sys.executable, "-m", f"jobs.{stage.job}", *stage.flags, *tracking]
    status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        raise CheckpointError(
            f"stage {stage.name} ended with status {status}; what it says is above, and the same "
            "command goes on with this stage"
        )
    return time.monotonic() - began
