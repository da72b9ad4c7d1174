"""Words: articles, plurals, and descriptions that say every condition once."""

import numpy as np
import pytest

from samtok.scenes.plan import list_categories
from samtok.scenes.queries import Query, Relation
from samtok.scenes.wording import add_article, name_query, number_word, pluralize


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("star", "stars"), ("leaf", "leaves"), ("cross", "crosses"), ("L-shape", "L-shapes")],
)
def test_plurals(noun, plural):
    assert pluralize(noun) == plural


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("red star", "a red star"), ("orange ring", "an orange ring"), ("L-shape", "an L-shape")],
)
def test_articles(phrase, expected):
    assert add_article(phrase) == expected


def test_numbers():
    assert [number_word(n) for n in (0, 1, 12, 20, 21)] == ["zero", "one", "twelve", "twenty", "21"]


def test_every_wording_says_every_condition():
    anchor = Query(category="house", texture="striped")
    query = Query(
        category="wheel",
        color="red",
        size="small",
        places=("top", "left"),
        relation=Relation(name="above", anchor=anchor),
    )
    wordings = {name_query(query, np.random.default_rng(seed)) for seed in range(200)}
    assert len(wordings) >= 20
    for text in wordings:
        for words in (
            ("red",),
            ("wheel",),
            ("small", "little", "tiny"),
            ("at the top left", "in the upper left"),
            ("above", "higher up than"),
            ("striped house", "stripy house", "house with "),
        ):
            assert sum(text.count(word) for word in words) == 1, (text, words)


def test_whose_part_it_is_cannot_be_read_as_where_it_is():
    query = Query(
        category="door",
        places=("left",),
        relation=Relation(name="part", anchor=Query(category="house")),
    )
    texts = {name_query(query, np.random.default_rng(seed)) for seed in range(60)}
    assert len(texts) >= 4
    assert not any("left of the house" in text or "side of the house" in text for text in texts)


def test_a_pronoun_stands_for_a_known_anchor():
    query = Query(category="star", relation=Relation(name="inside", anchor=3))
    texts = {name_query(query, np.random.default_rng(s), pronoun="the first one") for s in range(9)}
    assert all(text.startswith("star ") and text.endswith(" the first one") for text in texts)


def test_every_category_has_one_noun_of_its_own():
    nouns = {}
    for category in list_categories():
        for seed in range(20):
            noun = name_query(Query(category=category), np.random.default_rng(seed))
            assert nouns.setdefault(noun, category) == category, f"{noun} means two things"
