"""Running a job as people do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def run_job():
    """Run ``jobs/NAME.py`` with arguments and environment; gives the finished process."""

    def run(name, *arguments, timeout=240, **environment):
        return subprocess.run(
            [sys.executable, f"jobs/{name}.py", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
