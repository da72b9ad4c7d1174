"""The job that makes scene sets, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def run_job(*arguments):
    return subprocess.run(
        [sys.executable, "jobs/make_scenes.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def read_table(printed):
    """Rows of the summary: what → how many."""
    rows = (line.strip("│ ").split("│") for line in printed.splitlines() if "│" in line)
    return {row[0].strip(): int(row[1].replace(",", "")) for row in rows if len(row) == 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("job") / "made" / "here"
    settings = ("--seed", 5, "--split", "val", "--height", 48, "--width", 96)
    return output, run_job("--output", output, "--num-images", 8, *settings)


def test_the_files_hold_what_the_flags_ask_for(finished):
    output, done = finished
    assert done.returncode == 0, done.stdout + done.stderr
    instances = json.loads((output / "instances.json").read_text())
    names = [f"val-5-{index:08d}.png" for index in range(8)]
    assert [image["file_name"] for image in instances["images"]] == names
    assert sorted(path.name for path in (output / "images").iterdir()) == names
    with Image.open(output / "images" / names[0]) as image:
        assert image.size == (96, 48)
    assert {ref["split"] for ref in json.loads((output / "refs.json").read_text())} == {"val"}


def test_the_table_counts_what_the_files_hold(finished):
    output, done = finished
    table = read_table(done.stdout)
    annotations = json.loads((output / "instances.json").read_text())["annotations"]
    refs = json.loads((output / "refs.json").read_text())
    assert "8 scenes" in done.stdout
    assert table["masks: all"] == len(annotations)
    assert table["masks: thin"] == sum(a["attributes"]["is_thin"] for a in annotations)
    assert {"masks: small", "masks: part", "masks: occluded"} <= set(table)
    assert table["refs: none"] == sum(ref["no_target"] for ref in refs)
    assert table["refs: several"] == sum(len(ref["ann_id"]) > 1 for ref in refs)
    kinds = [table[f"refs: {kind}"] for kind in ("single", "several", "none")]
    assert sum(kinds) == len(refs)


def test_the_preview_is_where_the_last_line_says_and_shows_something(finished):
    output, done = finished
    assert done.stdout.strip().splitlines()[-1] == f"picture: {output / 'preview.png'}"
    with Image.open(output / "preview.png") as preview:
        assert len(np.unique(np.asarray(preview).reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--height", 10), "scene height is 10; allowed is 32 to 4096 pixels"),
        (("--num-images", 0), "num_images is 0; at least 1 is needed"),
        (("--seed", -1), "scene seed is -1; at least 0 is needed"),
        (("--split", "dev"), "dev"),
    ],
)
def test_bad_flags_end_with_one_message_and_write_nothing(tmp_path, flags, message):
    done = run_job("--output", tmp_path / "out", *flags)
    printed = done.stdout + done.stderr
    assert done.returncode == 2, printed
    assert message in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = run_job("--output", tmp_path, "--num-images", 1)
    assert done.returncode == 2
    assert f"output {tmp_path} is not an empty folder" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
