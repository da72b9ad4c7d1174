"""Recipes of the images: linted, and in step with what the project needs."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "infra").rglob("Dockerfile"))
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


def lint(recipe):
    return subprocess.run(
        [HADOLINT, "--config", ROOT / "infra/docker/hadolint.yaml", recipe],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.parent.name)
def test_hadolint_finds_nothing(recipe):
    shown = lint(recipe)
    assert (shown.returncode, shown.stdout) == (0, "")


def test_hadolint_sees_an_unpinned_base(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /tmp && ls\n")
    shown = lint(tmp_path / "Dockerfile")
    assert shown.returncode == 1
    assert "DL3006" in shown.stdout


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.parent.name)
def test_base_is_pinned_and_nothing_runs_as_root(recipe):
    text = recipe.read_text()
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", text, flags=re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base)
    last_stage_with_user = text.rpartition("FROM ${PYTHON_IMAGE}")[2]
    assert re.search(r"^USER 1000$", last_stage_with_user, flags=re.MULTILINE)
    assert "-c constraints.txt" in text or "-c /build/constraints.txt" in text


def test_requirements_of_the_image_are_those_of_the_project():
    script = ROOT / "infra/docker/list_requirements.py"
    listed = subprocess.run(
        [sys.executable, script, ROOT / "pyproject.toml", "s3", "cluster"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"sam2", "s3fs", "boto3"} <= {Requirement(line).name for line in listed}
    assert set(project["dependencies"]) <= set(listed)
    assert not any(line.startswith("pytest") for line in listed)


def test_context_holds_what_is_copied_and_no_more():
    kept = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = {
        source
        for recipe in RECIPES
        for line in re.findall(r"^COPY (?!--from)(.+)$", recipe.read_text(), flags=re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == set(kept)
    assert all((ROOT / name).exists() for name in kept)
