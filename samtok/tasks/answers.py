"""The forms an answer can have, as the published models write them; `answer_forms` reads them.

- masks only: the spans, nothing else; exactly ``No target.`` where there is none
- JSON: a fenced list of ``{"mask_2d": span, "label": text}``
- grounded text: ``<|object_ref_start|>phrase<|object_ref_end|>`` followed by the spans
- scene graph: a fenced JSON list of subject, predicate and object, the ends with masks

Several masks stand left to right, then top to bottom.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from samtok.answer_forms import NO_TARGET, REF_END, REF_START
from samtok.scenes.grounded_text import SceneText, Span
from samtok.tasks.regions import Regions, in_reading_order, join_words

_ARTICLE = re.compile(r"(?:the|an|a)\s+(?=\S)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the assistant says."""

    text: str
    """Mask words inside it."""
    mask_ids: tuple[str, ...] = ()
    """The masks whose spans are in the text, in order."""


def answer_masks_only(mask_ids: Iterable[str], regions: Regions) -> Answer:
    """Spans one after the other, or ``No target.``."""
    ordered = in_reading_order(mask_ids, regions)
    if not ordered:
        return Answer(NO_TARGET)
    text = "".join(region.words for region in ordered)
    return Answer(text, tuple(region.mask_id for region in ordered))


def answer_json(label: str, mask_ids: Iterable[str], regions: Regions) -> Answer:
    """A fenced JSON list with an entry per mask, or ``No target.``."""
    ordered = in_reading_order(mask_ids, regions)
    if not ordered:
        return Answer(NO_TARGET)
    entries = [{"mask_2d": region.words, "label": label} for region in ordered]
    return Answer(_fence(entries), tuple(region.mask_id for region in ordered))


def answer_grounded(text: str, spans: Sequence[Span], regions: Regions) -> Answer:
    """The text with a reference around each span that has masks, and these behind it.

    Args:
        text: what is said.
        spans: ascending, not overlapping; those without masks stay plain.
        regions: masks of the image.
    """
    pieces, mask_ids, at = [], [], 0
    for span in spans:
        if not span.mask_ids:
            continue
        phrase = text[span.start : span.end]
        words = join_words(span.mask_ids, regions)
        pieces += [text[at : span.start], REF_START, phrase, REF_END, words]
        mask_ids += [region.mask_id for region in in_reading_order(span.mask_ids, regions)]
        at = span.end
    return Answer("".join([*pieces, text[at:]]), tuple(mask_ids))


def answer_scene_graph(relations: Iterable[SceneText], regions: Regions) -> Answer:
    """A fenced JSON list of relations, by subject in reading order, then by object.

    Things are labelled with their category, as in PSG; where they have none, with what the text
    calls them.

    Args:
        relations: texts of kind relation.
        regions: masks of the image.
    """
    entries: list[dict[str, Any]] = []
    mask_ids: list[str] = []
    for relation in sorted(relations, key=lambda relation: _place_relation(relation, regions)):
        entry: dict[str, Any] = {}
        for role in ("subject", "predicate", "object"):
            span = find_span(relation, role)
            phrase = relation.text[span.start : span.end]
            if role == "predicate":
                entry[role] = phrase
                continue
            ends = in_reading_order(span.mask_ids, regions)
            entry[role] = {
                "mask_2d": "".join(end.words for end in ends),
                "label": ends[0].category or strip_article(phrase),
            }
            mask_ids += [end.mask_id for end in ends]
        entries.append(entry)
    return Answer(_fence(entries), tuple(mask_ids))


def replace_mentions(text: SceneText, within: Span, regions: Regions) -> str:
    """Characters of a span, with masks in place of the words that mention them."""
    pieces, at = [], within.start
    for span in text.spans:
        if span.role == "mention" and within.start <= span.start and span.end <= within.end:
            pieces += [text.text[at : span.start], join_words(span.mask_ids, regions)]
            at = span.end
    return "".join([*pieces, text.text[at : within.end]])


def find_span(text: SceneText, role: str) -> Span:
    """The first span of a role.

    Raises:
        ValueError: there is none.
    """
    for span in text.spans:
        if span.role == role:
            return span
    raise ValueError(f"a {text.kind} text has no {role}: {text.text!r}")


def strip_article(phrase: str) -> str:
    """``The grey square`` → ``grey square``."""
    return _ARTICLE.sub("", phrase, count=1) if _ARTICLE.match(phrase) else phrase


def make_sentence(text: str) -> str:
    """With a capital at the beginning and a full stop at the end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _place_relation(relation: SceneText, regions: Regions) -> tuple[Any, ...]:
    first = [
        in_reading_order(find_span(relation, role).mask_ids, regions)[0]
        for role in ("subject", "object")
    ]
    return (*((region.box, region.mask_id) for region in first), relation.text)


def _fence(entries: list[dict[str, Any]]) -> str:
    return f"```json\n{json.dumps(entries, ensure_ascii=False)}\n```"
