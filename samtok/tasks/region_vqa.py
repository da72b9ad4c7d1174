"""Region VQA: questions about things that the prompt names by their masks, answered in words.

Forms of a question: with masks in place of the words that name a thing, where the text says which
words these are; as it stands; and with the request for the masks that the answer rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from samtok.scenes.grounded_text import SceneText, Span
from samtok.tasks.answers import Answer, answer_masks_only, find_span, replace_mentions
from samtok.tasks.draft import DialogueOptions, Draft
from samtok.tasks.regions import Regions
from samtok.tasks.templates import fill_template

NAME = "region_vqa"

_POINTING_SHARE = 0.25
_PLAIN_SHARE = 0.2
"""Share of questions left in words although they could name a mask."""


def group_texts(texts: Mapping[int, SceneText]) -> list[tuple[int, ...]]:
    """Every question with its answer."""
    return [(i,) for i, text in texts.items() if text.kind == "question"]


def write(
    texts: Sequence[SceneText], regions: Regions, rng: Random, options: DialogueOptions
) -> Draft:
    """One question, one answer."""
    (text,) = texts
    question, answer = find_span(text, "question"), find_span(text, "answer")
    asked = text.text[question.start : question.end]
    said = text.text[answer.start : answer.end]
    if rng.random() < _POINTING_SHARE:
        prompt = fill_template(NAME, "pointing", rng, question=asked)
        return Draft.of(prompt, _point(said, answer, regions))
    if rng.random() >= _PLAIN_SHARE:
        asked = replace_mentions(text, question, regions)
    return Draft.of(fill_template(NAME, "answer", rng, question=asked), Answer(said))


def _point(said: str, answer: Span, regions: Regions) -> Answer:
    if not answer.mask_ids:
        return Answer(said)
    masks = answer_masks_only(answer.mask_ids, regions)
    return Answer(f"{said} {masks.text}", masks.mask_ids)
