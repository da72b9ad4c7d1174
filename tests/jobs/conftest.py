"""Running a job as people do."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.two_nodes import TwoNodes

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


@pytest.fixture
def check_job(monkeypatch, capsys):
    """The same without a process of its own: quick where little is run, on the session's cluster
    where it was started."""

    def check(name, *arguments, **environment):
        monkeypatch.chdir(ROOT)
        for key, value in {"COLUMNS": "200", **environment}.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr(sys, "argv", [f"jobs/{name}.py", *map(str, arguments)])
        try:
            status = importlib.import_module(f"jobs.{name}").main()
        except SystemExit as end:
            status = end.code
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, status, shown.out, shown.err)

    return check


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes on this machine, started by hand."""
    nodes = TwoNodes(tmp_path_factory.mktemp("nodes"))
    try:
        nodes.start_head()
        nodes.start_second()
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture(scope="module")
def submit(cluster):
    """Sends a job of this checkout, or any command, and gives the finished `ray job submit`."""

    def send(*command, flags=(), **environment):
        return cluster.run(
            *("ray", "job", "submit", "--address", cluster.address, "--working-dir", "."),
            *(*flags, "--", *command),
            **environment,
        )

    return send
