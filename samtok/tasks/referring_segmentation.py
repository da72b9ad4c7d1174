"""Referring segmentation: an expression in, masks out: one, several or none.

The prompt decides the form: a JSON list with labels where it says JSON, masks alone otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from samtok.scenes.grounded_text import SceneText
from samtok.tasks.answers import answer_json, answer_masks_only, strip_article
from samtok.tasks.draft import DialogueOptions, Draft
from samtok.tasks.regions import Regions
from samtok.tasks.templates import fill_template

NAME = "referring_segmentation"


def group_texts(texts: Mapping[int, SceneText]) -> list[tuple[int, ...]]:
    """Every expression."""
    return [(i,) for i, text in texts.items() if text.kind == "referring"]


def write(
    texts: Sequence[SceneText], regions: Regions, rng: Random, options: DialogueOptions
) -> Draft:
    """Ask for what an expression means, answer with its masks."""
    (text,) = texts
    if rng.random() < options.json_share:
        answer = answer_json(strip_article(text.text), text.mask_ids, regions)
        return Draft.of(fill_template(NAME, "json", rng, expression=text.text), answer)
    answer = answer_masks_only(text.mask_ids, regions)
    return Draft.of(fill_template(NAME, "masks", rng, expression=text.text), answer)
