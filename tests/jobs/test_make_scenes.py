"""The job as a user runs it: a child process from the repository root."""

import json

from PIL import Image


def test_it_writes_the_set_shows_a_picture_and_prints_the_counts(run_job, tmp_path):
    done = run_job(
        "make_scenes", "--output", tmp_path, "--num-images", 14, "--seed", 1, "--split", "val"
    )
    assert done.returncode == 0, done.stderr
    instances = json.loads((tmp_path / "instances.json").read_text())
    assert len(instances["images"]) == len(list((tmp_path / "images").glob("val-1-*.png"))) == 14
    assert "14 scenes" in done.stdout
    assert str(len(instances["annotations"])) in done.stdout
    assert str(tmp_path / "preview.png") in done.stdout
    with Image.open(tmp_path / "preview.png") as picture:
        assert min(picture.size) > 500


def test_a_wrong_setting_ends_in_one_line_that_names_it(check_job, tmp_path):
    done = check_job("make_scenes", "--output", tmp_path / "out", "--height", 5)
    assert done.returncode == 2
    assert done.stdout.splitlines() == ["error: scene height is 5; allowed is 32 to 4096 pixels"]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_explains_every_flag_with_an_example(check_job):
    done = check_job("make_scenes", "--help")
    assert done.returncode == 0
    assert "python jobs/make_scenes.py --output" in done.stdout
    for flag in ("--num-images", "--seed", "--split", "--height", "--width", "--workers"):
        assert flag in done.stdout
