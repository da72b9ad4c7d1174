"""The command: what people type, and what it says back."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.jobs.conftest import ROOT


def test_help_teaches(check_job):
    shown = check_job("serve_model", "--help")
    assert shown.returncode == 0
    for text in ("/v1/encode", "--api-keys", "--cache-mib", "--limits.max-image-pixels", "curl"):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "pass --api-keys FILE, or serve on 127.0.0.1"),
        (["--api-keys", "/nowhere/keys"], "--api-keys /nowhere/keys cannot be read"),
        (["--tokenizer", "nowhere"], "nothing is at"),
        (["--port", "70000"], "--port is 70000; it must be 1 to 65535"),
        (["--limits.max-masks", "0"], "--limits.max-masks is 0; it must be above 0"),
    ],
)
def test_bad_settings_are_one_message(check_job, arguments, message):
    shown = check_job("serve_model", *arguments)
    assert shown.returncode == 2
    assert message in " ".join((shown.stdout + shown.stderr).split())
    assert "Traceback" not in shown.stdout + shown.stderr


def test_a_port_in_use_stops_before_the_cluster(check_job, monkeypatch):
    monkeypatch.setattr("pipelines.serving.run.connect", lambda: pytest.fail("connected"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        shown = check_job("serve_model", "--port", taken.getsockname()[1])
    assert shown.returncode == 2
    assert "cannot be used" in shown.stdout


@pytest.mark.ray
def test_it_serves_until_it_is_told_to_stop(ray_cluster, serve_port, small_tokenizer_folder):
    process = subprocess.Popen(
        [
            *(sys.executable, "jobs/serve_model.py", "--port", str(serve_port)),
            *("--tokenizer", str(small_tokenizer_folder), "--cpus-per-replica", "0.5"),
        ],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "RAY_ADDRESS": ray_cluster},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = next((line for line in process.stdout if line.startswith("serving: ")), "")
        assert line.strip() == f"serving: http://127.0.0.1:{serve_port}"
        with urllib.request.urlopen(
            f"http://127.0.0.1:{serve_port}/v1/models", timeout=60
        ) as answer:
            (model,) = json.load(answer)["data"]
        assert model["id"] == str(small_tokenizer_folder)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(timeout=120) == 0, rest
        assert "stopped" in rest
    finally:
        process.kill()
