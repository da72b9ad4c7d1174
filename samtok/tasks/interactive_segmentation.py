"""Multi-round interactive segmentation: later rounds speak of masks that earlier ones gave.

Either by words ("to the left of it"), or by repeating the mask in the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from samtok.scenes.grounded_text import SceneText
from samtok.tasks.answers import Answer, answer_masks_only, replace_mentions
from samtok.tasks.draft import DialogueOptions, Draft
from samtok.tasks.regions import Regions
from samtok.tasks.templates import fill_template

NAME = "interactive_segmentation"

_REPEAT_SHARE = 0.5


def group_texts(texts: Mapping[int, SceneText]) -> list[tuple[int, ...]]:
    """Every series of instructions."""
    return [(i,) for i, text in texts.items() if text.kind == "rounds"]


def write(
    texts: Sequence[SceneText], regions: Regions, rng: Random, options: DialogueOptions
) -> Draft:
    """A round for each instruction, answered with masks only."""
    (text,) = texts
    repeats_masks = rng.random() < _REPEAT_SHARE
    rounds: list[tuple[str, Answer]] = []
    for span in text.spans:
        if span.role != "instruction":
            continue
        asked = text.text[span.start : span.end]
        if repeats_masks:
            asked = replace_mentions(text, span, regions)
        if not rounds:
            asked = fill_template(NAME, "opening", rng, instruction=asked)
        rounds.append((asked, answer_masks_only(span.mask_ids, regions)))
    return Draft(tuple(rounds))
