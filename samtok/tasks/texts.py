"""Checking the texts of a corpus before dialogues are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from samtok.errors import InputError
from samtok.scenes.grounded_text import Kind, SceneText, Span

_NEEDED_ROLES: Final = {
    "referring": (),
    "caption": (),
    "relation": ("subject", "predicate", "object"),
    "region": ("phrase",),
    "rounds": ("instruction",),
    "question": ("question", "answer"),
}
"""Roles of which a text of that kind has at least one span."""
_MASKED_ROLES: Final = {"relation": ("subject", "object"), "region": ("phrase",)}
"""Roles whose spans point at a mask in a text of that kind."""
_OUTER_ROLES: Final = ("instruction", "question")
"""Spans that others may lie within."""


def check_text(
    text: SceneText, unfit: Mapping[str, InputError], known: Mapping[str, object]
) -> None:
    """Refuse a text that no dialogue can be made of.

    Args:
        text: as a corpus has it.
        unfit: why a mask of the image must not be spoken of, by `mask_id`.
        known: masks of the image that may be.

    Raises:
        InputError: ``text_kind_unknown``; ``text_malformed``: its spans do not fit its characters,
            overlap, or lack what a text of its kind needs; ``mask_words_missing``: a mask that it
            names has no words; or the reason of an unfit mask.
    """
    if text.kind not in get_args(Kind):
        raise InputError(
            "text_kind_unknown",
            f"the kind of {text.text!r} is {text.kind!r}; known are {', '.join(get_args(Kind))}",
        )
    _check_spans(text)
    for mask_id in list_masks(text):
        if mask_id in unfit:
            raise unfit[mask_id]
        if mask_id not in known:
            raise InputError(
                "mask_words_missing",
                f"{text.text!r} speaks of mask {mask_id}, which has no words; tokenize the corpus "
                "it belongs to",
            )


def list_masks(text: SceneText) -> list[str]:
    """Every mask that a text or one of its spans names, each once."""
    spans = (mask_id for span in text.spans for mask_id in span.mask_ids)
    return list(dict.fromkeys([*text.mask_ids, *spans]))


def _check_spans(text: SceneText) -> None:
    roles = {span.role for span in text.spans}
    missing = [role for role in _NEEDED_ROLES[text.kind] if role not in roles]
    if missing or not text.text:
        raise _malformed(text, f"it has no {missing[0] if missing else 'characters'}")
    ends: list[Span] = []
    for span in text.spans:
        if not 0 <= span.start < span.end <= len(text.text):
            raise _malformed(text, f"a span is at {span.start}:{span.end}")
        inner = [other for other in ends if other.end > span.start]
        if any(
            o.role not in _OUTER_ROLES or o.end < span.end or o.start > span.start for o in inner
        ):
            raise _malformed(text, f"the span at {span.start}:{span.end} overlaps another")
        ends.append(span)
        if span.role in _MASKED_ROLES.get(text.kind, ()) and not span.mask_ids:
            raise _malformed(text, f"its {span.role} has no mask")


def _malformed(text: SceneText, what: str) -> InputError:
    return InputError("text_malformed", f"{text.kind} text {text.text!r}: {what}")
