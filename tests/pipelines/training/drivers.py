"""Drivers of trainings in processes of their own, to be killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.fs as pafs

from pipelines.storage import Place
from tests.ray_workers import find_workers

ROOT = Path(__file__).parents[3]


def start_driver(code, output, ray_address):
    """Run Python code that trains into a folder or bucket; gives the process once a checkpoint is
    there."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\nsys.path[:0] = [{str(ROOT)!r}]\n{code}"],
        env={**os.environ, "RAY_ADDRESS": ray_address},
        cwd=ROOT,
    )
    wait_for_checkpoint(process, output, after=0)
    return process


def rob_driver(process, output):
    """Kill a worker of its training, and the driver once the one in its place has made a
    checkpoint."""
    workers = find_workers("RayTrainWorker")
    assert workers, "the training ended before a worker could be killed"
    os.kill(workers[0], signal.SIGKILL)
    wait_for_checkpoint(process, output, after=find_last_step(Place.at(output)))
    process.kill()
    process.wait()
    assert not Place.at(output).exists("_manifest.json"), "the training ended before its driver"


def wait_for_checkpoint(process, output, *, after):
    """Return once a driver's training has a checkpoint of a step after the given one."""
    deadline = time.monotonic() + 400
    while find_last_step(Place.at(output)) <= after:
        assert process.poll() is None, "the driver ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def find_last_step(output):
    """Of the checkpoints of a training; 0 where there are none."""
    selector = pafs.FileSelector(output.path("ray_train"), allow_not_found=True, recursive=True)
    paths = " ".join(info.path for info in output.filesystem.get_file_info(selector))
    return max(map(int, re.findall(r"step-(\d+)/state\.pt", paths)), default=0)
