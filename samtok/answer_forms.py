"""The forms of an answer, read back from text that a model wrote: phrases and triplets with masks.

Pure text, above `samtok.words`. Reading never fails: what is not in the form is left out, since a
model may write anything.

- no target: ``No target.``
- grounded text: ``<|object_ref_start|>phrase<|object_ref_end|>`` followed by mask spans
- scene graph: a JSON list of ``{"subject": {"mask_2d", "label"}, "predicate", "object": {…}}``
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from samtok.words import MaskSpan, parse, split_think_answer

NO_TARGET: Final = "No target."
"""The whole answer where an expression fits nothing."""
REF_START: Final = "<|object_ref_start|>"
REF_END: Final = "<|object_ref_end|>"

Codes = tuple[int, int]
"""Of one mask: 0..255 each, the second -1 when missing."""

_REFERENCE = re.compile(
    re.escape(REF_START) + r"((?:(?!<\|object_ref_).)*+)" + re.escape(REF_END), re.DOTALL
)
_ENTRY = re.compile(r"[\s,]*+(?=\{)")
# The published models write masks without quotation marks.
_BARE_MASK = re.compile(r"(:\s*+)((?:<\|mt_\w*+\|>)++)")
_FLAT_OBJECT = re.compile(r"\{[^{}]*+\}")
_NUM_TEXTS: Final = 5  # of a triplet: predicate, two labels, two masks
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_NOT_WORD = re.compile(r"[^\w\s]|_")


@dataclass(frozen=True, slots=True)
class GroundedPhrase:
    """A phrase of a text and the masks that follow it."""

    phrase: str
    """As written, without white space around it."""
    codes: tuple[Codes, ...]
    """Of its masks, in order; empty where none follows at once."""


class Triplet(NamedTuple):
    """A relation of a scene graph, with the masks of its ends."""

    subject: str
    predicate: str
    object: str
    subject_codes: tuple[Codes, ...]
    object_codes: tuple[Codes, ...]


def read_answer_part(response: str) -> str:
    """What a response answers: the part after its reasoning, or all of it where there is none."""
    _, answer = split_think_answer(response)
    return response if answer is None else answer


def read_codes(text: str) -> tuple[Codes, ...]:
    """Codes of every mask that can be read, in order."""
    return tuple(span.codes for span in parse(text) if span.codes is not None)


def read_phrases(text: str) -> list[GroundedPhrase]:
    """Phrases marked as references, in order, with the masks right behind each."""
    spans = parse(text)
    return [
        GroundedPhrase(match.group(1).strip(), _codes_from(match.end(), spans, text))
        for match in _REFERENCE.finditer(text)
    ]


def read_triplets(text: str) -> list[Triplet]:
    """Relations of the first JSON list in a text, fenced or not; malformed entries are left out.

    Of a list that breaks off, as when an answer reaches its length limit, the whole entries count.
    """
    triplets = (_read_triplet(entry) for entry in _read_entries(text))
    return [triplet for triplet in triplets if triplet is not None]


def label_spans(text: str, spans: Sequence[MaskSpan]) -> list[str | None]:
    """What an answer calls its masks.

    Args:
        text: an answer.
        spans: of :func:`~samtok.words.parse`.

    Returns:
        For each span the phrase marked right before it, or the ``"label"`` of the JSON object it
        stands in as ``"mask_2d"``; None where there is neither.
    """
    labels: list[str | None] = [None] * len(spans)
    for match in _REFERENCE.finditer(text):
        for position in _follow(match.end(), spans, text):
            labels[position] = match.group(1).strip()
    for match in _FLAT_OBJECT.finditer(text):
        label = _read_label(match.group())
        for position, span in enumerate(spans):
            if match.start() < span.start and span.end < match.end():
                labels[position] = label
    return labels


def strip_masks(text: str) -> str:
    """What a text says in plain words: without mask spans and marks of references."""
    pieces, at = [], 0
    for span in parse(text):
        pieces.append(text[at : span.start])
        at = span.end
    plain = "".join([*pieces, text[at:]])
    return " ".join(plain.replace(REF_START, "").replace(REF_END, "").split())


def normalize_phrase(text: str) -> str:
    """Lower case, without articles, punctuation and needless space, so that wording is compared.

    As VQA and SQuAD evaluators do; hyphens part words.
    """
    plain = _ARTICLE.sub(" ", _NOT_WORD.sub(" ", text.lower()))
    return " ".join(plain.split())


def _codes_from(position: int, spans: Sequence[MaskSpan], text: str) -> tuple[Codes, ...]:
    """Masks from a position on, with at most white space between them."""
    found = (spans[index].codes for index in _follow(position, spans, text))
    return tuple(codes for codes in found if codes is not None)


def _follow(position: int, spans: Sequence[MaskSpan], text: str) -> Iterator[int]:
    """Indices of the spans from a position on, with at most white space between them."""
    for index, span in enumerate(spans):
        if span.start < position:
            continue
        if text[position : span.start].strip():
            break
        yield index
        position = span.end


def _read_label(written: str) -> str | None:
    """The label of one object of a JSON answer that has a mask."""
    try:
        entry = json.loads(_BARE_MASK.sub(r'\1"\2"', written))
    except (ValueError, RecursionError):
        return None
    label = entry.get("label")
    return label if "mask_2d" in entry and isinstance(label, str) else None


def _read_entries(text: str) -> list[dict[str, Any]]:
    """Objects of the first JSON list, up to the first that is broken."""
    decoder = json.JSONDecoder()
    text = _BARE_MASK.sub(r'\1"\2"', text)
    entries: list[dict[str, Any]] = []
    position = text.find("[") + 1
    while position and (gap := _ENTRY.match(text, position)):
        try:
            entry, position = decoder.raw_decode(text, gap.end())
        except (ValueError, RecursionError):
            break
        entries.append(entry)
    return entries


def _read_triplet(entry: dict[str, Any]) -> Triplet | None:
    ends = [end for role in ("subject", "object") if isinstance(end := entry.get(role), dict)]
    values = [entry.get("predicate"), *(end.get(k) for end in ends for k in ("label", "mask_2d"))]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != _NUM_TEXTS:
        return None
    predicate, subject, subject_words, object_, object_words = texts
    return Triplet(subject, predicate, object_, read_codes(subject_words), read_codes(object_words))
