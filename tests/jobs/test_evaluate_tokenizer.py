"""The command: what people type, and what it says back."""

import json
from pathlib import Path

import pytest


def test_help_teaches(check_job):
    shown = check_job("evaluate_tokenizer", "--help")
    assert shown.returncode == 0
    for text in ("--corpus", "--stability", "--noise-sigma", "ray job submit", "panel.png"):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "needs --corpus FOLDER"),
        (["--output", "x", "--corpus", "/nowhere"], "nothing to read at /nowhere"),
        (["--output", "x", "--source", "scenes", "--tokenizer", "nowhere"], "nothing is at"),
    ],
)
def test_bad_settings_are_one_message(check_job, arguments, message):
    shown = check_job("evaluate_tokenizer", *arguments)
    assert shown.returncode == 2
    assert message in " ".join((shown.stdout + shown.stderr).split())
    assert "Traceback" not in shown.stdout + shown.stderr


@pytest.mark.ray
def test_tables_pictures_and_settings_to_run_again(
    run_job, check_job, ray_cluster, small_tokenizer_folder, tmp_path
):
    shown = run_job(
        "evaluate_tokenizer",
        *("--source", "scenes", "--num-images", 6, "--stability", "--num-actors", 1),
        *("--output", tmp_path / "one", "--tokenizer", small_tokenizer_folder),
        RAY_ADDRESS=ray_cluster,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for text in ("two words", "box on a 16 x 16 grid", "perplexity", "mean boundary F", "dilate"):
        assert text in shown.stdout
    assert "measuring: 6 of 6 images" in shown.stderr
    pictures = [line for line in shown.stdout.splitlines() if line.startswith("picture: ")]
    assert all(Path(line.removeprefix("picture: ")).stat().st_size > 1000 for line in pictures)
    assert len(pictures) == 3
    again = check_job(
        "evaluate_tokenizer",
        *("--config", tmp_path / "one" / "_manifest.json", "--output", tmp_path / "two"),
    )
    assert again.returncode == 0, again.stdout + again.stderr
    one, two = (json.loads((tmp_path / n / "report.json").read_text()) for n in ("one", "two"))
    assert one == two
