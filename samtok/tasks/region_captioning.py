"""Region captioning: a mask in, words out.

From a region's description, a full sentence; from an expression that fits one mask, that phrase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from samtok.scenes.grounded_text import SceneText
from samtok.tasks.answers import Answer, find_span, make_sentence
from samtok.tasks.draft import DialogueOptions, Draft
from samtok.tasks.regions import Regions, join_words
from samtok.tasks.templates import fill_template

NAME = "region_captioning"


def group_texts(texts: Mapping[int, SceneText]) -> list[tuple[int, ...]]:
    """Descriptions of regions, and expressions with a single target."""
    return [(i,) for i, text in texts.items() if text.kind == "region" or _is_single(text)]


def write(
    texts: Sequence[SceneText], regions: Regions, rng: Random, options: DialogueOptions
) -> Draft:
    """Ask about the mask, answer with the text."""
    (text,) = texts
    if text.kind == "region":
        form, said = "description", make_sentence(text.text)
        mask_ids = find_span(text, "phrase").mask_ids
    else:
        form, said, mask_ids = "expression", text.text, text.mask_ids
    prompt = fill_template(NAME, form, rng, mask=join_words(mask_ids, regions))
    return Draft.of(prompt, Answer(said))


def _is_single(text: SceneText) -> bool:
    return text.kind == "referring" and len(text.mask_ids) == 1
