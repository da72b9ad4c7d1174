"""Commands as people type them, read by the jobs' own parsers without running anything."""

import ast
import importlib
import shlex
import tomllib
from pathlib import Path

import tyro

from pipelines.config_file import expand_config_file

ROOT = Path(__file__).parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
JOBS = tuple(sorted(target.split(".")[1].split(":")[0] for target in SCRIPTS.values()))


def split_job(command):
    """Name of the job that a command runs, and its arguments; None where it runs no job.

    Args:
        command: one command, without pipes; `\\` at line ends allowed.
    """
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    if "submit" in words and "--" in words:
        words = words[words.index("--") + 1 :]
    for place, word in enumerate(words):
        if word.startswith("jobs/") and word.endswith(".py"):
            return word.removeprefix("jobs/").removesuffix(".py"), words[place + 1 :]
        if word.startswith("samtok-"):
            return word.removeprefix("samtok-").replace("-", "_"), words[place + 1 :]
    return None


def parse_job(name, arguments):
    """Settings that the job would run with; SystemExit or ConfigError where it would not."""
    module = importlib.import_module(f"jobs.{name}")
    if name == "make_scenes":
        return tyro.cli(module.MakeScenesConfig, args=arguments)
    called = next(
        node
        for node in ast.walk(ast.parse((ROOT / f"jobs/{name}.py").read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "run_job"
    )
    config_type = getattr(module, called.args[0].id)
    names = {k.arg: k.value.id for k in called.keywords if isinstance(k.value, ast.Name)}
    presets = getattr(module, names["presets"]) if "presets" in names else None
    return tyro.cli(config_type, args=expand_config_file(arguments, presets))
