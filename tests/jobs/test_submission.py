"""Jobs sent to a cluster of two nodes with `ray job submit`, stopped, and robbed of a node."""

import json
import os
import time

import pyarrow.parquet as pq
import pytest

from pipelines.storage import Place

NUM_IMAGES = 60


def tokenize(output, tokenizer):
    return (
        *("python", "jobs/tokenize_corpus.py", "--source", "scenes", "--split", "val"),
        *("--num-images", NUM_IMAGES, "--images-per-block", 4, "--images-per-batch", 4),
        *("--preview-images", 0, "--num-actors", 2, "--tokenizer", tokenizer, "--output", output),
    )


def wait_for_commits(output, count):
    deadline = time.monotonic() + 240
    while len(list((output / "_commits").glob("*.json"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_code_travels_and_data_does_not(submit):
    shown = submit("ls", "-A")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    sent = set(shown.stdout.splitlines())
    assert {"jobs", "pipelines", "samtok"} <= sent
    assert sent.isdisjoint({".git", ".venv", "out", "mlflow.db", "tests", "docs", "infra"})


def test_exit_status_and_message_come_back(submit):
    shown = submit("python", "jobs/tokenize_corpus.py", "--source", "coco", "--output", "x")
    assert shown.returncode != 0
    assert "needs --annotations FILE and --images FOLDER" in " ".join(shown.stdout.split())
    assert "exit code 2" in shown.stdout + shown.stderr


def test_no_token_no_job(submit, tmp_path):
    shown = submit("touch", tmp_path / "ran", RAY_AUTH_TOKEN="0" * 48)
    assert shown.returncode != 0
    assert "authentication" in (shown.stdout + shown.stderr).lower()
    assert not (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def undisturbed(submit, small_tokenizer_folder, s3_bucket):
    """A tokenization into a bucket that only the environment of the job names: log and place."""
    bucket = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
    shown = submit(
        *tokenize(f"{s3_bucket}/submitted", small_tokenizer_folder),
        flags=("--runtime-env-json", json.dumps({"env_vars": bucket})),
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return shown.stdout, Place.at(f"{s3_bucket}/submitted")


def read_codes(place):
    """Codes by image and mask; fails where a mask is there twice."""
    rows = [
        row
        for name in json.loads(place.read_bytes("_manifest.json"))["files"]
        for row in pq.read_table(
            place.path(name),
            filesystem=place.filesystem,
            columns=["image_id", "mask_id", "codes"],
        ).to_pylist()
    ]
    codes = {(row["image_id"], row["mask_id"]): row["codes"] for row in rows}
    assert len(codes) == len(rows) > NUM_IMAGES
    return codes


def test_runtime_env_reaches_the_workers_and_the_log_comes_back(undisturbed):
    log, place = undisturbed
    assert f"{NUM_IMAGES} of {NUM_IMAGES} images" in log
    assert f"{len(read_codes(place)):,}" in log


def test_a_stopped_job_is_resumed_and_outlives_a_node(
    cluster, submit, small_tokenizer_folder, undisturbed, tmp_path
):
    command = tokenize(tmp_path / "out", small_tokenizer_folder)
    assert submit(*command, flags=("--submission-id", "stopped", "--no-wait")).returncode == 0
    wait_for_commits(tmp_path / "out", 2)
    cluster.stop_job("stopped")
    assert not (tmp_path / "out/_manifest.json").exists()
    done = len(list((tmp_path / "out/_commits").glob("*.json")))

    assert submit(*command, flags=("--submission-id", "again", "--no-wait")).returncode == 0
    wait_for_commits(tmp_path / "out", done + 2)
    cluster.kill_second()
    assert not (tmp_path / "out/_manifest.json").exists()
    deadline = time.monotonic() + 240
    while not (tmp_path / "out/_manifest.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)

    assert read_codes(Place.at(tmp_path / "out")) == read_codes(undisturbed[1])


@pytest.mark.long
def test_every_job_runs_where_it_is_sent(cluster, submit, tmp_path):
    """Those that test_lost_node.py does not send, each reading what earlier ones wrote."""
    cluster.start_second()
    corpus, dialogues = ("--corpus", "{}/ingest_corpus"), ("--conversations", "{}/build_dialogues")
    flags = {
        "make_scenes": ("--num-images", 2),
        "ingest_corpus": ("--source", "scenes", "--num-images", 3),
        "embed_corpus": ("--source", "corpus", *corpus),
        "tokenize_corpus": ("--source", "corpus", *corpus, "--preview-images", 0),
        "evaluate_tokenizer": ("--source", "corpus", *corpus, "--limit", 1, "--panel-masks", 1),
        "build_dialogues": (*corpus, "--words", "{}/tokenize_corpus", "--preview-samples", 0),
        "evaluate_model": (
            *("--model", "tiny-chat", *dialogues, "--limit", 1, "--tracking.no-enabled"),
            *("--generation.max-new-tokens", 4),
        ),
        "extend_vocabulary": ("--model", "tiny-base"),
        "pretrain_tiny_base": (
            *("--training.num-steps", 2, "--training.vision-steps", 1, "--validation-scenes", 10),
            *("--training.images-per-lane", 1, "--tracking.no-enabled"),
        ),
    }
    typed = [
        f"python jobs/{job}.py {' '.join(map(str, given))} --output {{}}/{job}"
        for job, given in flags.items()
    ]
    everything = " && ".join(typed).replace("{}", str(tmp_path))
    sent = submit("sh", "-c", everything, flags=("--submission-id", "every", "--no-wait"))
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert cluster.wait_for_job("every", timeout=900) == "SUCCEEDED", cluster.read_log("every")
    written = {
        "make_scenes": "instances.json",
        "evaluate_tokenizer": "report.json",
        "evaluate_model": "report.json",
        "extend_vocabulary": "model.safetensors",
        "pretrain_tiny_base": "model/model.safetensors",
    }
    for job in flags:
        assert (tmp_path / job / written.get(job, "_manifest.json")).exists(), job
