"""Grounded conversation: descriptions whose phrases are followed by their masks.

Of the whole image, from a caption; of a region that the prompt names by its mask, from a
description that mentions other things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from samtok.scenes.grounded_text import SceneText
from samtok.tasks.answers import answer_grounded, find_span, make_sentence
from samtok.tasks.draft import DialogueOptions, Draft
from samtok.tasks.regions import Regions, join_words
from samtok.tasks.templates import fill_template

NAME = "grounded_conversation"


def group_texts(texts: Mapping[int, SceneText]) -> list[tuple[int, ...]]:
    """Captions, and descriptions of regions that mention others."""
    return [
        (i,)
        for i, text in texts.items()
        if text.kind == "caption"
        or (text.kind == "region" and any(span.role == "mention" for span in text.spans))
    ]


def write(
    texts: Sequence[SceneText], regions: Regions, rng: Random, options: DialogueOptions
) -> Draft:
    """Ask for a description, answer with phrases and masks."""
    (text,) = texts
    said = make_sentence(text.text)
    if text.kind == "caption":
        prompt = fill_template(NAME, "caption", rng)
        return Draft.of(prompt, answer_grounded(said, text.spans, regions))
    words = join_words(find_span(text, "phrase").mask_ids, regions)
    prompt = fill_template(NAME, "surroundings", rng, mask=words)
    mentions = [span for span in text.spans if span.role == "mention"]
    return Draft.of(prompt, answer_grounded(said, mentions, regions))
