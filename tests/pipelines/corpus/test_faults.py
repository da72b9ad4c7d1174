"""Killed actors and killed drivers, on a real cluster: every row once, nothing done twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.corpus_reader import open_corpus, open_embeddings
from samtok.errors import ConfigError
from samtok.scenes import generate_scene
from tests.ray_workers import find_workers

ROOT = Path(__file__).parents[3]
NUM_IMAGES = 80

pytestmark = pytest.mark.ray


@pytest.fixture
def start_job(ray_cluster, small_tokenizer_folder):
    """Starts a job on scenes on the session's cluster; kills what is left of it after."""
    running = []
    actors = (
        *("--tokenizer", str(small_tokenizer_folder), "--images-per-batch", "4"),
        "--num-actors",
    )
    flags = {
        "tokenize_corpus": (*actors, "1", "--preview-images", "0"),
        "embed_corpus": (*actors, "1"),
        "ingest_corpus": ("--num-workers", "1"),
    }

    def start(output, *more, job="tokenize_corpus"):
        command = [
            *(sys.executable, f"jobs/{job}.py", "--source", "scenes"),
            *("--num-images", str(NUM_IMAGES), "--split", "val", "--output", str(output)),
            *("--images-per-block", "4", *flags[job], *more),
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
    process = start_job(tmp_path, "--num-actors", "2")
    wait_for_commits(tmp_path, 2, process)
    actors = find_workers("TokenizeStage")
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


@pytest.mark.parametrize("job", ["ingest_corpus", "embed_corpus"])
def test_other_jobs_go_on_where_they_were(start_job, read_output, tmp_path, job):
    process = start_job(tmp_path, job=job)
    wait_for_commits(tmp_path, 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(3)  # the cluster ends the dead driver's tasks
    committed = len(list((tmp_path / "_commits").glob("*.json")))
    assert 2 <= committed < NUM_IMAGES // 4
    opened = open_corpus if job == "ingest_corpus" else open_embeddings
    with pytest.raises(ConfigError, match="unfinished"):
        opened(str(tmp_path))

    finish(start_job(tmp_path, job=job))
    files = opened(str(tmp_path))
    counts = files.manifest["counts"]
    assert 0 < counts["images_done_now"] < NUM_IMAGES
    rows = read_output(tmp_path).rows(files.files[0].split("/")[0])
    scenes = [generate_scene(i, split="val") for i in range(NUM_IMAGES)]
    assert {row["image_id"]: len(row["masks"]) for row in rows} == {
        scene.scene_id: len(scene.masks) for scene in scenes
    }
    assert files.num_images == len(rows) == NUM_IMAGES
