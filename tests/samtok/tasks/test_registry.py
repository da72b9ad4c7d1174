"""From the texts of an image to its conversations."""

import pytest

from samtok.errors import ConfigError
from samtok.scenes import describe_scene, generate_scene
from samtok.tasks import (
    TASK_NAMES,
    Conversation,
    DialogueOptions,
    Message,
    Region,
    make_conversations,
)
from samtok.tasks.registry import count_copies
from samtok.words import format_codes, parse

ALL = dict.fromkeys(TASK_NAMES, 1.0)


@pytest.fixture(scope="module")
def scenes():
    """(scene id, texts, regions) of 40 scenes, each mask with words of its own."""
    made = []
    for index in range(40):
        scene = generate_scene(index, split="val", seed=9)
        spans = format_codes([(int(item.mask_id), 7) for item in scene.objects])
        regions = {
            item.mask_id: Region(mask_id=item.mask_id, words=words, box=item.box)
            for item, words in zip(scene.objects, spans, strict=True)
        }
        made.append((scene.scene_id, dict(enumerate(describe_scene(scene))), regions))
    return made


def make(scene, weights=ALL, seed=0, **options):
    scene_id, texts, regions = scene
    return make_conversations(
        scene_id, texts, regions, weights=weights, options=DialogueOptions(**options), seed=seed
    )


def test_names_are_those_that_everyone_uses():
    assert TASK_NAMES == (
        "region_captioning",
        "region_vqa",
        "grounded_conversation",
        "referring_segmentation",
        "scene_graph",
        "interactive_segmentation",
        "general_vqa",
    )


def test_last_answers_hold_their_target_words_and_no_others(scenes):
    tasks = set()
    for scene in scenes:
        made, used = make(scene)
        assert used == set(scene[1])
        assert len({c.conversation_id for c in made}) == len(made)
        for conversation in made:
            tasks.add(conversation.task)
            answer = conversation.messages[-1].content
            spans = parse(answer)
            assert all(span.status == "well_formed" for span in spans)
            assert tuple(answer[s.start : s.end] for s in spans) == conversation.target_words
            assert conversation.target_words == tuple(
                scene[2][mask_id].words for mask_id in conversation.mask_ids
            )
            for message in conversation.messages:
                assert "{" not in message.content.replace('{"', "")
                assert "  " not in message.content
    assert tasks == set(TASK_NAMES) - {"general_vqa"}


def test_the_same_seed_gives_the_same_whatever_else_is_made(scenes):
    alone, _ = make(scenes[3], weights={"referring_segmentation": 1.0})
    together, _ = make(scenes[3])
    assert alone == [c for c in together if c.task == "referring_segmentation"]
    scene_id, texts, regions = scenes[3]
    without_first = {p: t for p, t in texts.items() if p != min(texts)}
    fewer, _ = make((scene_id, without_first, regions))
    assert set(fewer) <= set(together)
    other, _ = make(scenes[3], seed=1)
    assert [c.conversation_id for c in other] == [c.conversation_id for c in together]
    assert other != together


def test_weights_are_conversations_per_text(scenes):
    referring = [sum(text.kind == "referring" for text in texts.values()) for _, texts, _ in scenes]
    for weight in (0.0, 0.3, 1.0, 2.5):
        made = [len(make(s, weights={"referring_segmentation": weight})[0]) for s in scenes]
        assert sum(made) == pytest.approx(weight * sum(referring), rel=0.15)
        for count, texts in zip(made, referring, strict=True):
            assert int(weight) * texts <= count <= -(-weight // 1) * texts
    copies = make(scenes[3], weights={"referring_segmentation": 6.0})[0]
    prompts = {c.messages[0].content for c in copies}
    assert len(prompts) > len(copies) / 2


def test_texts_that_gave_nothing_are_not_used(scenes):
    made, used = make(scenes[3], weights={"region_vqa": 0.5})
    questions = {p for p, text in scenes[3][1].items() if text.kind == "question"}
    assert used < questions
    assert {int(c.conversation_id.split("/")[2]) for c in made} == used


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_whole_weights_are_exact(weight):
    assert {count_copies(weight, str(name)) for name in range(100)} == {int(weight)}


def test_conversations_take_turns():
    asked, answered = Message("user", "Segment it."), Message("assistant", "No target.")
    fields = {"conversation_id": "x", "task": "region_vqa", "target_words": (), "mask_ids": ()}
    Conversation(messages=(asked, answered, asked, answered), **fields)
    for turns in ((), (asked,), (answered, asked), (asked, asked, answered)):
        with pytest.raises(ValueError, match="take turns"):
            Conversation(messages=turns, **fields)
    with pytest.raises(ValueError, match="no text"):
        Conversation(messages=(Message("user", ""), answered), **fields)
    with pytest.raises(ValueError, match="1 target words for 0 masks"):
        Conversation(messages=(asked, answered), **{**fields, "target_words": ("w",)})


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_of_what_nothing_fits_a_share_is_asked_and_all_the_rest(scenes, share):
    absent, asked = 0, 0
    for scene in scenes:
        referring = {p: t for p, t in scene[1].items() if t.kind == "referring"}
        missing = {p for p, text in referring.items() if not text.mask_ids}
        weights = {"referring_segmentation": 1.0, "interactive_segmentation": 1.0}
        everything, _ = make(scene, weights=weights)
        made, _ = make(scene, weights=weights, no_target_share=share)
        left_out = {c.conversation_id for c in everything} - {c.conversation_id for c in made}
        positions = {int(name.split("/")[2]) for name in left_out}
        assert positions <= missing
        assert {c.conversation_id: c for c in made}.items() <= {
            c.conversation_id: c for c in everything
        }.items()
        absent, asked = absent + len(missing), asked + len(missing - positions)
    assert absent > 20
    assert asked / absent == pytest.approx(share, abs=0.2)


def test_options_are_checked():
    for name in ("json_share", "no_target_share"):
        with pytest.raises(ConfigError, match=rf"{name} is 1.5; allowed is 0 to 1"):
            DialogueOptions(**{name: 1.5})
