"""Drivers of trainings in processes of their own, to be killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.fs as pafs

from pipelines.storage import Place

ROOT = Path(__file__).parents[3]


def start_driver(code, output, ray_address):
    """Run Python code that trains into a folder or bucket; returns the process once a checkpoint
    is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\nsys.path[:0] = [{str(ROOT)!r}]\n{code}"],
        env={**os.environ, "RAY_ADDRESS": ray_address},
        cwd=ROOT,
    )
    deadline = time.monotonic() + 400
    while not has_checkpoint(Place.at(output)):
        assert process.poll() is None, "the driver ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


def has_checkpoint(output):
    selector = pafs.FileSelector(output.path("ray_train"), allow_not_found=True, recursive=True)
    return any(info.base_name == "state.pt" for info in output.filesystem.get_file_info(selector))
