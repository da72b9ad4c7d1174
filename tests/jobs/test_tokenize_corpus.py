"""The command: what people type, and what it says back."""

from pathlib import Path

import pytest


def test_help_teaches(check_job):
    shown = check_job("tokenize_corpus", "--help")
    assert shown.returncode == 0
    for text in ("--source", "--annotations", "--reconstruct", "ray job submit", "quarantine"):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "coco", "--output", "x"], "needs --annotations FILE and --images FOLDER"),
        (["--source", "scenes", "--output", "x", "--num-actors", "0"], "--num-actors is 0"),
        (["--source", "scenes", "--output", "x", "--num-images", "0"], "--num-images is 0"),
        (["--source", "scenes", "--output", "x", "--tokenizer", "nowhere"], "nothing is at"),
        (["--source", "scenes", "--output", "x", "--num-imges", "3"], "--num-imges"),
        (["--source", "voc", "--output", "x"], "voc"),
    ],
)
def test_bad_settings_are_one_message(check_job, arguments, message):
    shown = check_job("tokenize_corpus", *arguments)
    assert shown.returncode == 2
    assert message in " ".join((shown.stdout + shown.stderr).split())
    assert "Traceback" not in shown.stdout + shown.stderr


def test_dry_run_runs_nothing(check_job, small_tokenizer_folder, tmp_path):
    shown = check_job(
        "tokenize_corpus",
        *("--source", "scenes", "--num-images", 7, "--split", "val", "--dry-run"),
        *("--output", tmp_path / "out", "--tokenizer", small_tokenizer_folder),
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "images: 7" in shown.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
def test_table_and_picture(run_job, ray_cluster, small_tokenizer_folder, tmp_path):
    shown = run_job(
        "tokenize_corpus",
        *("--source", "scenes", "--num-images", 12, "--split", "val", "--reconstruct"),
        *("--output", tmp_path / "out", "--tokenizer", small_tokenizer_folder),
        *("--num-actors", 1),
        RAY_ADDRESS=ray_cluster,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for text in ("masks out", "mean reconstruction IoU", "perplexity", "12 of 12 images"):
        assert text in shown.stdout + shown.stderr
    picture = next(line for line in shown.stdout.splitlines() if line.startswith("picture: "))
    assert Path(picture.removeprefix("picture: ")).stat().st_size > 1000
