"""The memory of a tokenizer training over its steps.

    python tests/benchmarks/training_memory.py [FLAGS OF jobs/train_tokenizer.py]

Runs the job, by default 2,000 steps of the preset `tiny` with two workers, and looks every 10 s at
all its processes: driver, Ray's, loaders and workers. Memory of their own (USS) is summed; what
they share, such as Ray's object store, is given apart: the store reuses its memory, and pages count
from the first time that they are written to.

Prints one JSON object: both in MiB at eleven points of the training, that of the workers alone,
and the growth: the mean of the last tenth of the looks over the mean of the second, minus one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

JOB = Path(__file__).parents[2] / "jobs/train_tokenizer.py"
FLAGS = (
    *("--preset", "tiny", "--num-workers", "2", "--training.num-steps", "2000"),
    *("--training.quantize-from-step", "1400", "--validate-every", "200"),
)
WORKER = "ray::RayTrainWorker"
SECONDS = 10.0


class Look(NamedTuple):
    """Memory at a step, MiB."""

    step: int
    own: float
    workers: float
    shared: float


def run_job(flags: list[str]) -> list[Look]:
    """The job from its first step to its end."""
    looks: list[Look] = []
    ended = threading.Event()
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, str(JOB), "--output", output, *flags]
        job = subprocess.Popen(  # in there, so that its MLflow store goes with it
            command, cwd=output, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert job.stdout is not None
        steps = [0]

        def watch() -> None:
            while not ended.wait(SECONDS):
                if steps[0]:
                    looks.append(look(job.pid, steps[0]))

        watcher = threading.Thread(target=watch)
        watcher.start()
        for line in job.stdout:
            sys.stderr.write(line)
            if found := re.search(r"step ([\d,]+) of ([\d,]+)", line):
                steps[0] = int(found[1].replace(",", ""))
                if found[1] == found[2]:
                    ended.set()  # workers end from here on
        ended.set()
        watcher.join()
        if job.wait():
            raise SystemExit(job.returncode)
    return looks


def look(pid: int, step: int) -> Look:
    """All processes below one, itself included."""
    own = workers = shared = 0.0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            memory = process.memory_full_info()
            title = "".join(process.cmdline()[:1])
        except psutil.Error:  # gone meanwhile
            continue
        own += memory.uss / 2**20
        shared += (memory.pss - memory.uss) / 2**20
        workers += memory.uss / 2**20 if title.startswith(WORKER) else 0.0
    return Look(step, own, workers, shared)


def growth(values: list[float]) -> float:
    """The last tenth over the second, minus one."""
    tenth = max(1, len(values) // 10)
    return float(np.mean(values[-tenth:]) / np.mean(values[tenth : 2 * tenth]) - 1)


def main() -> None:
    looks = run_job([*FLAGS, *sys.argv[1:]])
    shown = [looks[round(i)] for i in np.linspace(0, len(looks) - 1, 11)]
    report: dict[str, object] = {"step": [one.step for one in shown]}
    for part in ("own", "workers", "shared"):
        report[f"{part}_mib"] = [round(getattr(one, part)) for one in shown]
    for part in ("own", "workers"):
        report[f"{part}_growth"] = round(growth([getattr(one, part) for one in looks]), 4)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
