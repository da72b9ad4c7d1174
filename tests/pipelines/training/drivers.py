"""Drivers of trainings in processes of their own, to be killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]


def start_driver(code, folder, ray_address):
    """Run Python code that trains into a folder; returns the process once a checkpoint is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\nsys.path[:0] = [{str(ROOT)!r}]\n{code}"],
        env={**os.environ, "RAY_ADDRESS": ray_address},
        cwd=ROOT,
    )
    deadline = time.monotonic() + 400
    while not list(folder.glob("ray_train/step-*/state.pt")):
        assert process.poll() is None, "the driver ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process
