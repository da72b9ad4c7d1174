"""An MLflow server on this machine, in a process group of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request


def start_mlflow(folder, port, flags, settings):
    """The process of a server, once it answers.

    Args:
        folder: that it runs in; its log is added to ``server.log`` there.
        port: of the loopback.
        flags: of ``mlflow server``, but for the port.
        settings: added to the environment.
    """
    log = folder / "server.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--workers=1", f"--port={port}", *flags],
            env={**os.environ, **settings, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "0"},
            cwd=folder,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 240
        while not is_healthy(f"http://127.0.0.1:{port}"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
    except BaseException:
        kill_mlflow(process)
        raise
    return process


def is_healthy(address):
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def kill_mlflow(process):
    """End a server and the processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
