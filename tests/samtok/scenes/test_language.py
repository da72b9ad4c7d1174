"""Everything said about a scene, read back by a reader that shares no code with the writer."""

import itertools
import re

import pytest

from samtok.scenes import describe_scene, generate_scene

NUM_SCENES = 50
NUMBERS = dict(
    zip("zero one two three four five six seven eight nine ten".split(), range(11), strict=True)  # noqa: SIM905
)

PREFIXES = (
    rf"^(all the|every one of the|all|any|the)( ({'|'.join(NUMBERS)}|\w+teen|\w+elve|eleven))? "
)


@pytest.fixture(scope="module")
def told():
    scenes = [generate_scene(index, split="val", seed=9) for index in range(NUM_SCENES)]
    return [(scene, describe_scene(scene)) for scene in scenes]


def texts_of(told, kind):
    return [(scene, text) for scene, texts in told for text in texts if text.kind == kind]


def words_of(text, span):
    words = text.text[span.start : span.end]
    return words[0].lower() + words[1:]


def ids(positions):
    return {str(position) for position in positions}


def test_the_same_scene_and_seed_say_the_same_another_seed_something_else():
    scene = generate_scene(4, split="val", seed=9)
    assert describe_scene(scene) == describe_scene(generate_scene(4, split="val", seed=9))
    assert describe_scene(scene) != describe_scene(scene, seed=1)


def test_every_kind_is_there_and_few_wordings_are_repeated(told):
    for kind in ("referring", "caption", "relation", "region", "rounds", "question"):
        texts = [text.text for _, text in texts_of(told, kind)]
        assert len(texts) >= 0.8 * NUM_SCENES, kind
        assert len(set(texts)) > 0.7 * len(texts), kind


def test_spans_lie_in_the_text_and_name_masks_of_the_scene(told):
    for scene, texts in told:
        known = {item.mask_id for item in scene.objects}
        for text in texts:
            spans = text.spans
            assert list(spans) == sorted(spans, key=lambda s: (s.start, -s.end))
            for span in spans:
                assert 0 <= span.start < span.end <= len(text.text)
                assert text.text[span.start : span.end].strip() == text.text[span.start : span.end]
                assert set(span.mask_ids) <= known
            outer = [span for span in spans if span.role != "mention"]
            assert all(a.end <= b.start for a, b in itertools.pairwise(outer))
            named = [mask_id for span in outer for mask_id in span.mask_ids]
            assert text.mask_ids == tuple(dict.fromkeys(named))


def test_referring_expressions_mean_exactly_their_masks(told, reader):
    targets = []
    for scene, text in texts_of(told, "referring"):
        read = reader(scene)
        description = re.sub(PREFIXES, "", text.text)
        found = read.find(description)
        assert ids(found) == set(text.mask_ids), (scene.scene_id, text.text)
        assert [(s.start, s.end) for s in text.spans] == [(0, len(text.text))]
        targets.append(min(2, len(text.mask_ids)))
    assert min(targets.count(kind) for kind in (0, 1, 2)) >= 20


def test_numbers_in_expressions_count_the_masks(told):
    counted = 0
    for _, text in texts_of(told, "referring"):
        match = re.match(r"the (\w+) ", text.text)
        if match and match[1] in NUMBERS:
            counted += 1
            assert NUMBERS[match[1]] == len(text.mask_ids)
    assert counted >= 3


def test_captions_ground_every_phrase(told, reader):
    for scene, text in texts_of(told, "caption"):
        read = reader(scene)
        assert bool(text.spans) == bool(scene.objects)
        for span in text.spans:
            words = words_of(text, span)
            number = NUMBERS.get(words.split()[0])
            if number is not None:
                assert number == len(span.mask_ids)
                words = words.split(maxsplit=1)[1]
            assert ids(read.find(words)) == set(span.mask_ids), text.text


def test_relations_hold_between_the_things_they_name(told, reader):
    seen = set()
    for scene, text in texts_of(told, "relation"):
        read = reader(scene)
        subject, predicate, target = text.spans
        assert [s.role for s in text.spans] == ["subject", "predicate", "object"]
        assert (
            text.text
            == f"{text.text[: subject.end]} {words_of(text, predicate)} {words_of(text, target)}."
        )
        (i,), (j,) = read.find(words_of(text, subject)), read.find(words_of(text, target))
        assert (subject.mask_ids, target.mask_ids) == ((str(i),), (str(j),))
        relation = read.relation_in(words_of(text, predicate))
        assert read.holds(i, relation, j), text.text
        seen.add(relation)
    assert seen == {"left", "right", "above", "below", "front", "part"}


def test_what_is_stated_of_things_is_in_the_scene_and_not_in_the_draw(told):
    """So the triplets of a scene graph can be known by who sees the scene."""
    for scene, _ in told[:10]:
        one, other = (
            [
                (text.spans[0].mask_ids, words_of(text, text.spans[1]), text.spans[2].mask_ids)
                for text in describe_scene(scene, seed=seed)
                if text.kind == "relation"
            ]
            for seed in (0, 1)
        )
        assert one == other
        assert len({subject for subject, _, _ in one}) == len(one)


def test_regions_are_true_of_their_mask(told, reader):
    for scene, text in texts_of(told, "region"):
        read = reader(scene)
        (position,) = text.mask_ids
        phrase = text.spans[0]
        assert position in ids(read.find(words_of(text, phrase))), text.text
        before = phrase.end
        for mention in text.spans[1:]:
            words = text.text[before + 2 : mention.start - 1]
            (other,) = read.find(words_of(text, mention))
            assert mention.mask_ids == (str(other),)
            if words.startswith(("partly hidden by", "partly covered by", "behind")):
                assert read.holds(other, "front", int(position))
            else:
                assert read.holds(int(position), read.relation_in(words), other), text.text
            before = mention.end


def test_later_rounds_mean_what_they_say_of_earlier_answers(told, reader):
    pointers = []
    for scene, text in texts_of(told, "rounds"):
        read = reader(scene)
        rounds = [span for span in text.spans if span.role == "instruction"]
        mentions = [span for span in text.spans if span.role == "mention"]
        assert [text.text[r.start : r.end] for r in rounds] == text.text.split("\n")
        assert 2 <= len(rounds) <= 4
        opening = re.sub(
            r"^(segment|find|please mark|show me) ", "", words_of(text, rounds[0])[:-1]
        )
        assert ids(read.find(opening)) == set(rounds[0].mask_ids)
        for number, (line, mention) in enumerate(zip(rounds[1:], mentions, strict=True), 1):
            pointer = text.text[mention.start : mention.end]
            answered = {"it": number - 1, "the first one": 0}.get(pointer)
            if answered is None:
                answered = NUMBERS[pointer.split()[1]] - 1
            pointers.append(pointer if answered < number - 1 else "last")
            assert mention.mask_ids == rounds[answered].mask_ids
            anchor = int(mention.mask_ids[0])
            words = re.sub(
                r"^(now segment|next, mark|then mark|and|then show me|what about) (all |the )*",
                "",
                words_of(text, line)[:-1],
            )
            if words.startswith("other "):
                found = set(read.find(words.removesuffix(f" besides {pointer}"))) - {anchor}
            else:
                found = read.find(words, it=anchor)
            assert ids(found) == set(line.mask_ids), text.text
    assert pointers.count("last") >= 20
    assert pointers.count("the first one") >= 10


def test_answers_are_right(told, reader):
    kinds = set()
    for scene, text in texts_of(told, "question"):
        read = reader(scene)
        question, answer = text.text.split("\n")
        spans = [s for s in text.spans if s.role != "mention"]
        assert [text.text[s.start : s.end] for s in spans] == [question, answer]
        for mention in (s for s in text.spans if s.role == "mention"):
            phrase = text.text[mention.start : mention.end].removeprefix("the ")
            assert mention.mask_ids == text.mask_ids
            assert ids(read.find(phrase)) == set(mention.mask_ids)
        kinds.add(
            _check_answer(
                read, question[0].lower() + question[1:-1], answer[0].lower() + answer[1:-1], text
            )
        )
    assert kinds == {"count", "exists", "absent", "bigger", "color", "texture", "category"}


def _check_answer(read, question, answer, text):
    found = [int(mask_id) for mask_id in text.mask_ids]
    if match := re.match(
        r"(?:how many|count the|what is the number of) (.*?)(?: are there)?$", question
    ):
        assert sorted(found) == sorted(read.find(match[1]))
        assert NUMBERS[answer] == len(found)
        return "count"
    if match := re.match(
        r"(?:is there|can you see|does the image show) (.*?)(?: in the picture)?$", question
    ):
        assert answer == ("yes" if found else "no")
        assert read.find(match[1]) == found
        return "exists" if found else "absent"
    if match := re.match(
        r"(?:which is bigger, |of )(.*?)(?: or | and )(.*?)(?:, which is larger)?$", question
    ):
        (i,), (j,) = read.find(match[1]), read.find(match[2])
        assert found == [max(i, j, key=lambda position: read.objects[position].area)]
        assert read.find(answer) == found
        return "bigger"
    return _check_property(read, question, answer, found)


def _check_property(read, question, answer, found):
    for pattern, field in (
        (r"(?:what color is|which colour does) (.*?)(?: have)?$", "color"),
        (r"(?:what pattern does|is) (.*?)(?: have| plain, or what is its pattern)$", "texture"),
        (r"what (?:is|kind of object is) (.*)$", "category"),
    ):
        if match := re.match(pattern, question):
            assert read.find(match[1]) == found
            assert found[0] in read.find(
                answer.removeprefix("it is ") + (" thing" if field != "category" else "")
            )
            return field
    raise AssertionError(question)


def test_what_shows_only_faintly_is_never_left_out_nor_called_absent(told, reader):
    checked = 0
    for scene, text in texts_of(told, "referring"):
        description = re.sub(PREFIXES, "", text.text)
        read = reader(scene, with_faint=True)
        if scene.faint and read.is_plain(description):
            checked += 1
            assert ids(read.find(description)) == set(text.mask_ids), (scene.scene_id, text.text)
    assert checked >= 20
