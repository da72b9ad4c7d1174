"""Killed actors and killed drivers, on a real cluster: every row once, nothing done twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NUM_IMAGES = 80

pytestmark = pytest.mark.ray


@pytest.fixture
def start_job(ray_cluster, small_tokenizer_folder):
    """Starts jobs/tokenize_corpus.py on the session's cluster; kills what is left of it after."""
    running = []

    def start(output, num_actors=1):
        command = [
            *(sys.executable, "jobs/tokenize_corpus.py", "--source", "scenes"),
            *("--num-images", str(NUM_IMAGES), "--split", "val", "--output", str(output)),
            *("--tokenizer", str(small_tokenizer_folder), "--num-actors", str(num_actors)),
            *("--images-per-block", "4", "--preview-images", "0"),
        ]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "RAY_ADDRESS": ray_cluster},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def wait_for_commits(output, count, process):
    deadline = time.monotonic() + 300
    while len(list((output / "_commits").glob("*.json"))) < count:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, "no commits within five minutes"
        time.sleep(0.02)


def find_actor_processes():
    """Process ids of tokenizer actors (Ray names its workers after what they run)."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            title = (entry / "cmdline").read_text()
        except (OSError, NotADirectoryError):
            continue
        if entry.name.isdigit() and title.startswith("ray::") and "TokenizeStage" in title:
            found.append(int(entry.name))
    return found


def finish(process):
    printed, _ = process.communicate(timeout=500)
    assert process.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def undisturbed(ray_cluster, small_tokenizer_folder, tmp_path_factory, read_output):
    """Codes of a run that nobody disturbed, and how many images it had to embed."""
    from pipelines.corpus.tokenize import TokenizeConfig, run_tokenization

    output = tmp_path_factory.mktemp("undisturbed")
    summary = run_tokenization(
        TokenizeConfig(
            source="scenes",
            num_images=NUM_IMAGES,
            split="val",
            output=str(output),
            tokenizer=str(small_tokenizer_folder),
            num_actors=1,
            preview_images=0,
        )
    )
    return read_output(output).codes(), summary.images_embedded_now


def test_a_killed_actor_is_replaced(start_job, undisturbed, read_output, tmp_path):
    process = start_job(tmp_path, num_actors=2)
    wait_for_commits(tmp_path, 2, process)
    actors = find_actor_processes()
    assert actors
    os.kill(actors[0], signal.SIGKILL)
    finish(process)
    assert read_output(tmp_path).codes() == undisturbed[0]


def test_a_killed_driver_goes_on_where_it_was(start_job, undisturbed, read_output, tmp_path):
    codes, num_embedded = undisturbed
    process = start_job(tmp_path)
    wait_for_commits(tmp_path, 3, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(3)  # the cluster ends the dead driver's tasks
    output = read_output(tmp_path)
    assert not (tmp_path / "_manifest.json").exists()
    committed = len(list((tmp_path / "_commits").glob("*.json")))
    assert 3 <= committed < NUM_IMAGES // 4

    printed = finish(start_job(tmp_path))
    assert output.codes() == codes
    counts = output.manifest()["counts"]
    assert 0 < counts["images_embedded_now"] < num_embedded
    # Embedded over both runs and kept: each image with masks exactly once.
    assert counts["figures"]["num_embedded"] == num_embedded
    assert "images embedded by this run" in printed
