"""Wordings of prompts: JSON files beside this one, a file per task, a list per form of answer.

A prompt determines the form of its answer: no wording stands under two forms, "JSON" is in all
that want JSON and in no other.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from random import Random


@cache
def load_templates(task: str) -> dict[str, tuple[str, ...]]:
    """Wordings by form of answer; ``{…}`` marks what is filled in."""
    file = resources.files("samtok.tasks") / "templates" / f"{task}.json"
    content: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return {form: tuple(wordings) for form, wordings in content.items()}


def fill_template(task: str, form: str, rng: Random, **values: str) -> str:
    """A wording of a form, chosen by `rng`, with its blanks filled."""
    return rng.choice(load_templates(task)[form]).format(**values)
