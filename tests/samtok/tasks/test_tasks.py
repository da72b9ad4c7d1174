"""Each task by itself: what is asked, and what is answered."""

import json
import re
from random import Random

import pytest

from samtok.tasks import (
    DialogueOptions,
    grounded_conversation,
    interactive_segmentation,
    referring_segmentation,
    region_captioning,
    region_vqa,
    scene_graph,
)
from samtok.tasks.templates import load_templates


def write_many(task, texts, regions, *, json_share=0.5, count=60):
    """Drafts of the first group of texts, by as many generators."""
    (group,) = task.group_texts(dict(enumerate(texts)))
    members = [texts[position] for position in group]
    options = DialogueOptions(json_share=json_share)
    return [task.write(members, regions, Random(seed), options) for seed in range(count)]


def unfill(prompt, task, form, **values):
    """Which template of a form gives the prompt; fails if none or several do."""
    found = [t for t in load_templates(task)[form] if t.format(**values) == prompt]
    assert len(found) == 1, prompt
    return found[0]


def form_of(draft, forms):
    """The form whose templates give a draft's first prompt; `forms`: name → values."""
    prompt = draft.rounds[0][0]
    fitting = [
        form
        for (task, form), values in forms.items()
        if any(t.format(**values) == prompt for t in load_templates(task)[form])
    ]
    assert len(fitting) == 1, prompt
    return fitting[0]


@pytest.mark.parametrize(
    ("mask_ids", "masks"),
    [(["star"], ["star"]), (["star", "moon", "cup"], ["moon", "cup", "star"])],
)
def test_referring_segmentation(mask_ids, masks, text, regions, words):
    expression = text("referring", "the shiny things", ("the shiny things", "phrase", mask_ids))
    forms = {
        (referring_segmentation.NAME, form): {"expression": "the shiny things"}
        for form in ("masks", "json")
    }
    seen = set()
    for draft in write_many(referring_segmentation, [expression], regions):
        ((_, answer),) = draft.rounds
        form = form_of(draft, forms)
        seen.add(form)
        assert answer.mask_ids == tuple(masks)
        if form == "masks":
            assert answer.text == "".join(words[mask] for mask in masks)
        else:
            entries = json.loads(answer.text.removeprefix("```json\n").removesuffix("\n```"))
            assert entries == [{"mask_2d": words[m], "label": "shiny things"} for m in masks]
    assert seen == {"masks", "json"}


def test_referring_segmentation_without_target(text, regions):
    expression = text("referring", "any blue cup", ("any blue cup", "phrase", []))
    for draft in write_many(referring_segmentation, [expression], regions):
        ((prompt, answer),) = draft.rounds
        assert "any blue cup" in prompt
        assert (answer.text, answer.mask_ids) == ("No target.", ())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_json_is_the_caller_s(share, text, regions):
    expression = text("referring", "the cup", ("the cup", "phrase", ["cup"]))
    for draft in write_many(referring_segmentation, [expression], regions, json_share=share):
        ((prompt, answer),) = draft.rounds
        assert ("JSON" in prompt) == answer.text.startswith("```json") == bool(share)


def test_region_captioning_describes_and_names(text, regions, words):
    region = text(
        "region",
        "a white cup, under a lid",
        ("a white cup", "phrase", ["cup"]),
        ("a lid", "mention", ["lid"]),
    )
    expression = text("referring", "white cup", ("white cup", "phrase", ["cup"]))
    several = text("referring", "all white", ("all white", "phrase", ["cup", "lid"]))
    absent = text("referring", "red cup", ("red cup", "phrase", []))
    assert region_captioning.group_texts(
        dict(enumerate([several, region, absent, expression]))
    ) == [(1,), (3,)]
    for source, form, said in (
        (region, "description", "A white cup, under a lid."),
        (expression, "expression", "white cup"),
    ):
        for draft in write_many(region_captioning, [source], regions):
            ((prompt, answer),) = draft.rounds
            unfill(prompt, region_captioning.NAME, form, mask=words["cup"])
            assert (answer.text, answer.mask_ids) == (said, ())


def test_region_vqa_asks_by_mask_by_words_and_for_evidence(text, regions, words):
    question = text(
        "question",
        "What colour is the cup?\nWhite.",
        ("What colour is the cup?", "question", []),
        ("the cup", "mention", ["cup"]),
        ("White.", "answer", ["cup"]),
    )
    by_words = {"question": "What colour is the cup?"}
    by_mask = {"question": f"What colour is {words['cup']}?"}
    seen = []
    for draft in write_many(region_vqa, [question], regions, count=200):
        ((prompt, answer),) = draft.rounds
        templates = load_templates(region_vqa.NAME)
        if prompt in [t.format(**by_words) for t in templates["pointing"]]:
            seen.append("pointing")
            assert answer.text == f"White. {words['cup']}"
            assert answer.mask_ids == ("cup",)
            continue
        assert (answer.text, answer.mask_ids) == ("White.", ())
        in_words = prompt in [t.format(**by_words) for t in templates["answer"]]
        assert in_words or prompt in [t.format(**by_mask) for t in templates["answer"]]
        seen.append("words" if in_words else "mask")
    assert 20 <= seen.count("pointing") <= 80
    assert 10 <= seen.count("words") <= 60
    assert 80 <= seen.count("mask") <= 160


def test_region_vqa_without_evidence_is_answered_in_words(text, regions):
    question = text(
        "question",
        "Is there a dog?\nNo.",
        ("Is there a dog?", "question", []),
        ("No.", "answer", []),
    )
    for draft in write_many(region_vqa, [question], regions):
        ((prompt, answer),) = draft.rounds
        assert "Is there a dog?" in prompt
        assert (answer.text, answer.mask_ids) == ("No.", ())


def test_grounded_conversation_of_an_image_and_of_a_region(text, regions, words):
    caption = text(
        "caption",
        "A cup and a star.",
        ("A cup", "phrase", ["cup"]),
        ("a star", "phrase", ["star"]),
    )
    region = text(
        "region",
        "a white cup, under a lid",
        ("a white cup", "phrase", ["cup"]),
        ("a lid", "mention", ["lid"]),
    )
    alone = text("region", "a star", ("a star", "phrase", ["star"]))
    assert grounded_conversation.group_texts(dict(enumerate([alone, caption, region]))) == [
        (1,),
        (2,),
    ]
    start, end = "<|object_ref_start|>", "<|object_ref_end|>"
    for draft in write_many(grounded_conversation, [caption], regions, count=20):
        ((prompt, answer),) = draft.rounds
        unfill(prompt, grounded_conversation.NAME, "caption")
        assert answer.text == (
            f"{start}A cup{end}{words['cup']} and {start}a star{end}{words['star']}."
        )
    for draft in write_many(grounded_conversation, [region], regions, count=20):
        ((prompt, answer),) = draft.rounds
        unfill(prompt, grounded_conversation.NAME, "surroundings", mask=words["cup"])
        assert answer.text == f"A white cup, under {start}a lid{end}{words['lid']}."
        assert answer.mask_ids == ("lid",)


def test_scene_graph_of_all_and_of_a_pair(text, regions, words):
    first = text(
        "relation",
        "The cup is under the lid.",
        ("The cup", "subject", ["cup"]),
        ("is under", "predicate", []),
        ("the lid", "object", ["lid"]),
    )
    second = text(
        "relation",
        "A moon is left of the star.",
        ("A moon", "subject", ["moon"]),
        ("is left of", "predicate", []),
        ("the star", "object", ["star"]),
    )
    cup, moon = (
        {
            "subject": {"mask_2d": words[s], "label": {"moon": "crescent"}.get(s, s)},
            "predicate": predicate,
            "object": {"mask_2d": words[o], "label": o},
        }
        for s, predicate, o in (("cup", "is under", "lid"), ("moon", "is left of", "star"))
    )
    seen = set()
    for draft in write_many(scene_graph, [first, second], regions):
        ((prompt, answer),) = draft.rounds
        entries = json.loads(answer.text.removeprefix("```json\n").removesuffix("\n```"))
        if prompt in load_templates(scene_graph.NAME)["graph"]:
            seen.add("graph")
            assert entries == [moon, cup]
            assert answer.mask_ids == ("moon", "star", "cup", "lid")
            continue
        expected = cup if words["cup"] in prompt else moon
        seen.add(expected["predicate"])
        values = {role: expected[role]["mask_2d"] for role in ("subject", "object")}
        unfill(prompt, scene_graph.NAME, "pair", **values)
        assert entries == [expected]
    assert seen == {"graph", "is under", "is left of"}


def test_interactive_segmentation_refers_back_by_words_or_by_mask(text, regions, words):
    rounds = text(
        "rounds",
        "Find the cup.\nNow what is above it?\nAnd the two left of the first one?",
        ("Find the cup.", "instruction", ["cup"]),
        ("Now what is above it?", "instruction", ["lid"]),
        (" it", "mention", ["cup"]),
        ("And the two left of the first one?", "instruction", ["star", "moon"]),
        ("the first one", "mention", ["cup"]),
    )
    later = set()
    for draft in write_many(interactive_segmentation, [rounds], regions):
        prompts, answers = zip(*draft.rounds, strict=True)
        unfill(prompts[0], interactive_segmentation.NAME, "opening", instruction="Find the cup.")
        later.add(prompts[1:])
        assert [answer.text for answer in answers] == [
            words["cup"],
            words["lid"],
            words["moon"] + words["star"],
        ]
        assert answers[-1].mask_ids == ("moon", "star")
    assert later == {
        ("Now what is above it?", "And the two left of the first one?"),
        (f"Now what is above{words['cup']}?", f"And the two left of {words['cup']}?"),
    }


@pytest.mark.parametrize("task", ["scene_graph", "referring_segmentation", "region_vqa"])
def test_json_is_asked_for_by_name(task):
    for form, wordings in load_templates(task).items():
        for wording in wordings:
            assert ("JSON" in wording) == (form in ("json", "graph", "pair")), wording


def test_no_wording_stands_for_two_forms():
    names = [
        *("region_captioning", "region_vqa", "grounded_conversation"),
        *("referring_segmentation", "scene_graph", "interactive_segmentation"),
    ]
    bare = {}
    for task in names:
        for form, wordings in load_templates(task).items():
            assert len(wordings) >= 10
            for wording in wordings:
                # Whatever is filled in: two forms may not differ by the name of a blank alone.
                key = re.sub(r"\{\w+\}", "{}", wording)
                assert bare.setdefault(key, (task, form)) == (task, form) or key == "{}", wording
            assert len(set(wordings)) == len(wordings)


@pytest.mark.parametrize(
    ("task", "form", "asks_for_masks"),
    [
        ("region_captioning", "description", False),
        ("region_captioning", "expression", False),
        ("region_vqa", "answer", False),
        ("region_vqa", "pointing", True),
        ("grounded_conversation", "caption", True),
        ("grounded_conversation", "surroundings", True),
    ],
)
def test_masks_are_asked_for_where_they_are_given(task, form, asks_for_masks):
    for wording in load_templates(task)[form]:
        plain = re.sub(r"\{\w+\}", "", wording).lower()
        assert bool(re.search(r"\bmasks?\b|\bsegment\b", plain)) == asks_for_masks, wording
