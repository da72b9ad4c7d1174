"""A Ray cluster of two nodes that `ray start` makes, as an operator would, guarded by a token."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path

from ray.job_submission import JobSubmissionClient

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
STARTED = "Ray runtime started"
STORE_BYTES = 200_000_000


class TwoNodes:
    """The nodes, and the commands that people type at them.

    Args:
        folder: for logs.
    """

    def __init__(self, folder):
        self._folder = folder
        # Of its own: jobs join the cluster that was started last among those of a temporary folder.
        # Short, as sockets lie in it.
        self._ray_folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self._nodes = {}
        self._gcs, self._dashboard = free_ports(2)
        self.address = f"http://127.0.0.1:{self._dashboard}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        self.environment = {
            **kept,
            "PYTHONPATH": str(ROOT),  # installed on every node, as in the image
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(24),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
            "RAY_worker_niceness": "0",
            # A node that is switched off is given up after 3 s, not 15.
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
        }

    def start_head(self):
        """Two logical CPUs, and the dashboard on this machine only."""
        self._start(
            "head",
            *("--head", "--port", self._gcs),
            *("--dashboard-host", "127.0.0.1"),
            *("--dashboard-port", self._dashboard, "--ray-client-server-port", free_ports(1)[0]),
        )

    def start_second(self):
        """Another node of two logical CPUs, unless it is there."""
        if "second" not in self._nodes:
            self._start("second", "--address", f"127.0.0.1:{self._gcs}")

    def kill_second(self):
        """As if its machine were switched off."""
        self._kill("second")

    def stop(self):
        """End both; no other cluster of this machine is touched."""
        for name in list(self._nodes):
            self._kill(name)
        shutil.rmtree(self._ray_folder, ignore_errors=True)

    def run(self, *command, **environment):
        """Run a command of Ray as a user with the token; gives the finished process."""
        return subprocess.run(
            [BIN / command[0], *map(str, command[1:])],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def stop_job(self, name):
        """Stop a submitted job, and return once it has ended; as `ray job stop`, but at once."""
        assert self._jobs.stop_job(name)
        assert self.wait_for_job(name, timeout=120) == "STOPPED"

    def wait_for_job(self, name, timeout):
        """How a submitted job ended."""
        deadline = time.monotonic() + timeout
        while not (status := self._jobs.get_job_status(name)).is_terminal():
            assert time.monotonic() < deadline, self.read_log(name)
            time.sleep(0.1)
        return status.value

    def read_log(self, name):
        """What a submitted job has printed."""
        return self._jobs.get_job_logs(name)

    @cached_property
    def _jobs(self):
        headers = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        return JobSubmissionClient(self.address, headers=headers)

    def _start(self, name, *flags):
        log = self._folder / f"{name}.log"
        with log.open("w") as sink:
            self._nodes[name] = subprocess.Popen(
                [
                    *(BIN / "ray", "start", "--block", "--num-cpus", "2", "--disable-usage-stats"),
                    *("--node-ip-address", "127.0.0.1", "--object-store-memory", str(STORE_BYTES)),
                    *("--dashboard-agent-listen-port", str(free_ports(1)[0])),
                    # Each its own, as on two machines: in one folder the second node would unpack
                    # the working directory anew below a job that runs in it.
                    *("--temp-dir", str(self._ray_folder / name)),
                    *map(str, flags),
                ],
                env=self.environment,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 240
        while STARTED not in log.read_text():
            assert self._nodes[name].poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)

    def _kill(self, name):
        process = self._nodes.pop(name, None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_ports(count):
    """Ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as open_sockets:
        probes = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
