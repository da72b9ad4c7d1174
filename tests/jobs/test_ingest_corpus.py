"""The command: what people type, and what it says back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "jobs/ingest_corpus.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_help_teaches():
    shown = run("--help")
    assert shown.returncode == 0
    for text in ("--carry-images", "--num-workers", "ray job submit", "quarantine", "--corpus"):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "corpus", "--output", "x"], "needs --corpus FOLDER"),
        (["--source", "corpus", "--corpus", "nowhere", "--output", "x"], "nothing to read at"),
        (["--source", "scenes", "--output", "x", "--num-workers", "0"], "--num-workers is 0"),
    ],
)
def test_bad_settings_are_one_message(arguments, message):
    shown = run(*arguments)
    assert shown.returncode == 2
    assert message in " ".join((shown.stdout + shown.stderr).split())
    assert "Traceback" not in shown.stdout + shown.stderr


@pytest.mark.ray
def test_table_and_settings_of_an_earlier_run(ray_cluster, tmp_path):
    flags = ("--source", "scenes", "--num-images", 6, "--split", "val")
    shown = run(*flags, "--output", tmp_path / "out", RAY_ADDRESS=ray_cluster)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for text in ("images out", "masks out", "texts", "6 of 6 images"):
        assert text in shown.stdout + shown.stderr
    config = tmp_path / "out" / "_manifest.json"
    again = run("--config", config, "--output", tmp_path / "other", "--dry-run")
    assert "images: 6" in again.stdout
