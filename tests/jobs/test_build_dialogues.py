"""The command: what people type, and what it says back."""

from pathlib import Path

import pytest

FOLDERS = ["--corpus", "nowhere", "--words", "nowhere", "--output", "x"]


def test_help_teaches(check_job):
    shown = check_job("build_dialogues", "--help")
    assert shown.returncode == 0
    for text in (
        *("--weights.referring-segmentation", "--min-reconstruction-iou", "--drop-colliding"),
        *("--general", "--json-share", "ray job submit", "No target.", "quarantine"),
    ):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to read at"),
        (["--weights.scene-graph", "-1"], "--weights.scene-graph is -1.0; allowed is 0 to 100"),
        (["--json-share", "2"], "--json-share is 2.0; allowed is 0 to 1"),
        (["--no-target-share", "-1"], "--no-target-share is -1.0; allowed is 0 to 1"),
        (["--min-reconstruction-iou", "1.5"], "--min-reconstruction-iou is 1.5; allowed is 0 to 1"),
        (["--num-workers", "0"], "--num-workers is 0"),
        (["--wieghts.scene-graph", "1"], "--wieghts.scene-graph"),
    ],
)
def test_bad_settings_are_one_message(check_job, arguments, message):
    shown = check_job("build_dialogues", *FOLDERS, *arguments)
    assert shown.returncode == 2
    assert message in " ".join((shown.stdout + shown.stderr).split())
    assert "Traceback" not in shown.stdout + shown.stderr


@pytest.mark.ray
def test_from_scenes_to_dialogues(
    run_job, check_job, ray_cluster, small_tokenizer_folder, tmp_path
):
    corpus, words, output = (tmp_path / name for name in ("corpus", "words", "dialogues"))
    steps = [
        ("ingest_corpus", "--source", "scenes", "--num-images", 8, "--output", corpus),
        (
            *("tokenize_corpus", "--source", "corpus", "--corpus", corpus, "--output", words),
            *("--tokenizer", small_tokenizer_folder, "--num-actors", 1),
        ),
        ("build_dialogues", "--corpus", corpus, "--words", words, "--output", output),
    ]
    for name, *arguments in steps:
        shown = run_job(name, *arguments, RAY_ADDRESS=ray_cluster)
        assert shown.returncode == 0, shown.stdout + shown.stderr
    for text in ("texts in", "texts used", "referring_segmentation", "8 of 8 images"):
        assert text in shown.stdout + shown.stderr
    picture = next(line for line in shown.stdout.splitlines() if line.startswith("picture: "))
    assert Path(picture.removeprefix("picture: ")).stat().st_size > 1000
    again = check_job(
        *("build_dialogues", "--config", output / "_manifest.json"),
        *("--output", tmp_path / "other", "--dry-run"),
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "images: 8" in again.stdout
