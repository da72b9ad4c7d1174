"""Texts that no dialogue can be made of."""

from dataclasses import replace

import pytest

from samtok.errors import InputError
from samtok.scenes import describe_scene, generate_scene
from samtok.scenes.grounded_text import Span
from samtok.tasks.texts import check_text


def span(start, end, role="phrase", *mask_ids):
    return Span(start=start, end=end, role=role, mask_ids=mask_ids)


def test_scenes_pass():
    for index in range(20):
        scene = generate_scene(index, split="val")
        known = {item.mask_id: item for item in scene.objects}
        for text in describe_scene(scene):
            check_text(text, {}, known)


def check_refused(text, regions, reason, match, unfit=None):
    with pytest.raises(InputError, match=match) as caught:
        check_text(text, unfit or {}, regions)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("kind", "spans", "match"),
    [
        ("region", [], "it has no phrase"),
        ("region", [span(0, 3)], "its phrase has no mask"),
        ("relation", [span(0, 2, "subject", "cup"), span(4, 6, "object", "lid")], "no predicate"),
        ("rounds", [span(0, 3, "mention", "cup")], "no instruction"),
        ("question", [span(0, 3, "question")], "no answer"),
        ("caption", [span(0, 50)], "a span is at 0:50"),
        ("caption", [span(4, 4)], "a span is at 4:4"),
        ("caption", [span(-1, 4)], "a span is at -1:4"),
        ("caption", [span(0, 4), span(3, 6)], "3:6 overlaps"),
        ("caption", [span(3, 6), span(0, 2)], "0:2 overlaps"),
        ("rounds", [span(0, 4, "instruction"), span(3, 6, "mention")], "3:6 overlaps"),
    ],
)
def test_spans_must_fit(kind, spans, match, text, regions):
    made = replace(text("caption", "0123456789"), kind=kind, spans=tuple(spans))
    check_refused(made, regions, "text_malformed", match)


def test_kinds_and_characters(text, regions):
    caption = text("caption", "Nothing is here.")
    check_text(caption, {}, regions)
    check_refused(replace(caption, text=""), regions, "text_malformed", "no characters")
    check_refused(replace(caption, kind="poem"), regions, "text_kind_unknown", "'poem'; known are")


def test_masks_must_have_words_and_be_fit(text, regions):
    made = text("referring", "the dog", ("the dog", "phrase", ["dog"]))
    check_refused(made, regions, "mask_words_missing", "mask dog, which has no words")
    unfit = {"dog": InputError("mask_collides", "two dogs")}
    check_refused(made, regions, "mask_collides", "two dogs", unfit)
    mention = text(
        "rounds", "Find it.", ("Find it.", "instruction", ["cup"]), (" it", "mention", ["dog"])
    )
    check_refused(mention, regions, "mask_words_missing", "mask dog")
