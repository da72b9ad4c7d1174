"""The wheel: what people get who install the package instead of cloning the repository."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
JOBS = sorted(p.stem for p in (ROOT / "jobs").glob("*.py") if p.stem != "__init__")

LOAD_COMMANDS = """
import importlib.metadata, json, sys
for extra in ("boto3", "peft", "psycopg2", "pycocoevalcap", "s3fs"):
    sys.modules[extra] = None  # as where the package was installed without extras
from samtok import SAMTok
import samtok
found = importlib.metadata.distribution("samtok").entry_points.select(group="console_scripts")
commands = {entry.name: entry.load().__module__ for entry in found}
SAMTok.from_pretrained("tiny", device="cpu")
print(json.dumps({"commands": commands, "from": samtok.__file__}))
"""


def run(*command, cwd, installed):
    shown = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return shown.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built by pip from a copy, so that nothing is written into the checkout."""
    copy = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "samtok", "pipelines", "jobs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in (*tracked, "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-w", copy, copy], check=True)
    return next(copy.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that the wheel alone was installed into, beside what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", folder, wheel], check=True)
    return folder


def test_holds_everything_that_is_read_at_run_time_and_no_tests(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    here = {
        str(path.relative_to(ROOT))
        for package in ("samtok", "pipelines", "jobs")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }
    assert here - held == set()
    assert {name.split("/")[0] for name in held if ".dist-info" not in name} == {
        "samtok",
        "pipelines",
        "jobs",
    }


def test_every_job_is_a_command_that_loads_without_extras(installed, tmp_path):
    loaded = json.loads(run(sys.executable, "-c", LOAD_COMMANDS, cwd=tmp_path, installed=installed))
    assert Path(loaded["from"]).is_relative_to(installed)
    assert loaded["commands"] == {
        f"samtok-{name.replace('_', '-')}": f"jobs.{name}" for name in JOBS
    }


def test_commands_run_away_from_the_checkout(installed, tmp_path):
    run(
        *(installed / "bin/samtok-make-scenes", "--output", "scenes", "--num-images", 2),
        cwd=tmp_path,
        installed=installed,
    )
    assert len(list((tmp_path / "scenes/images").glob("*.png"))) == 2
    shown = run(
        *(installed / "bin/samtok-tokenize-corpus", "--source", "coco", "--dry-run"),
        *("--annotations", "scenes/instances.json", "--images", "scenes/images"),
        *("--output", "out"),
        cwd=tmp_path,
        installed=installed,
    )
    assert "images: 2" in shown
