"""The command: what people type, and what it says back."""

import pytest


def test_help_teaches(check_job):
    shown = check_job("ingest_corpus", "--help")
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
def test_bad_settings_are_one_message(check_job, arguments, message):
    shown = check_job("ingest_corpus", *arguments)
    assert shown.returncode == 2
    assert message in " ".join((shown.stdout + shown.stderr).split())
    assert "Traceback" not in shown.stdout + shown.stderr


@pytest.mark.ray
def test_table_and_settings_of_an_earlier_run(run_job, check_job, ray_cluster, tmp_path):
    flags = ("--source", "scenes", "--num-images", 6, "--split", "val")
    shown = run_job("ingest_corpus", *flags, "--output", tmp_path / "out", RAY_ADDRESS=ray_cluster)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for text in ("images out", "masks out", "texts", "6 of 6 images"):
        assert text in shown.stdout + shown.stderr
    config = tmp_path / "out" / "_manifest.json"
    again = check_job(
        *("ingest_corpus", "--config", config, "--output", tmp_path / "other", "--dry-run")
    )
    assert "images: 6" in again.stdout
