"""Every command of the documentation is read by what it calls, and those marked so are run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import ray.scripts.scripts
import ray.serve.scripts

from tests.commands import JOBS, parse_job, split_job

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)?( run)?\n(.*?)^ *```$", flags=re.MULTILINE | re.DOTALL)
PLAIN = {
    "cp",
    "curl",
    "docker",
    "export",
    "kubectl",
    "openssl",
    "pip",
    "printf",
    "source",
    "mlflow",
}
"""Commands that are not this project's; the paths they name are checked."""


def blocks(page, language):
    for indent, name, run, text in BLOCK.findall(page.read_text()):
        if name == language:
            yield re.sub(rf"^{indent}", "", text, flags=re.MULTILINE), bool(run)


def whole_commands(text):
    """Lines of a block, those of one command joined: by `\\`, a pipe, or a quote left open."""
    begun = ""
    for line in text.replace("\\\n", " ").splitlines():
        begun = f"{begun}\n{line}" if begun else line
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:
            continue
        if words and words[-1] == "|":
            continue
        if words:
            yield begun
        begun = ""
    assert not begun, begun


def commands():
    for page in PAGES:
        for text, _ in blocks(page, "bash"):
            for command in whole_commands(text):
                yield pytest.param(command, id=f"{page.stem}: {' '.join(command.split())[:60]}")


@pytest.mark.parametrize("command", commands())
def test_command_would_be_understood(command):
    job = split_job(command)
    if job is not None:
        parse_job(*job)
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert words[1] in targets
    elif words[0] == "ray":
        assert words[1] in ray.scripts.scripts.cli.commands
    elif words[0] == "serve":
        assert words[1] in ray.serve.scripts.cli.commands
    elif words[0] == "python":
        file = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
        assert job is not None or (ROOT / file).exists()
    else:
        assert words[0] in PLAIN or job is not None
    for path in re.findall(r"\b(?:infra|tests|jobs)/[\w./-]+", command):
        if not path.endswith(".env"):
            assert (ROOT / path).exists(), path


def test_commands_that_are_wrong_would_be_seen():
    with pytest.raises(SystemExit):
        parse_job(*split_job("python jobs/tokenize_corpus.py --sauce coco --output x"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_blocks_are_python(page):
    for text, _ in blocks(page, "python"):
        compile(text, str(page), "exec")


@pytest.mark.parametrize("job", JOBS)
def test_each_job_has_a_page_whose_flags_exist(job, capsys):
    page = (ROOT / f"docs/jobs/{job}.md").read_text()
    with pytest.raises(SystemExit):
        parse_job(job, ["--help"])
    known = set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out))
    named = set(re.findall(r"^\| (`--.*?) \|", page, flags=re.MULTILINE))
    flags = {flag for cell in named for flag in re.findall(r"--[a-z][\w.-]*", cell)}
    assert flags
    assert flags - {"--preset"} <= known


def test_the_first_hour_begins(tmp_path):
    for name in ("jobs", "pipelines", "samtok"):
        (tmp_path / name).symlink_to(ROOT / name)
    (first,) = [text for text, run in blocks(ROOT / "docs/first_hour.md", "bash") if run]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shown = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", first],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for made in ("preview.png", "instances.json", "texts.jsonl"):
        assert (tmp_path / "out/scenes" / made).exists()
