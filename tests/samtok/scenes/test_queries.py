"""What descriptions pick out, on scenes drawn by hand (100 pixels a side)."""

import pytest

from samtok.scenes.facts import SceneFacts
from samtok.scenes.queries import Query, Relation, select


def thing(x, y, half=5, **more):
    return {"box": (x - half, y - half, x + half, y + half), **more}


@pytest.fixture
def facts(make_scene):
    """Two red squares at the left and right, a blue square in the middle, a blue star below."""
    return SceneFacts(
        make_scene(
            thing(15, 50),
            thing(85, 50),
            thing(50, 50, color="blue"),
            thing(50, 85, color="blue", category="star", texture="dotted"),
        )
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), (0, 1, 2, 3)),
        (Query(color="red"), (0, 1)),
        (Query(category="square"), (0, 1, 2)),
        (Query(category="square", color="blue"), (2,)),
        (Query(category="star", color="red"), ()),
        (Query(texture="dotted"), (3,)),
        (Query(places=("left",)), (0,)),
        (Query(color="red", others_than=(0,)), (1,)),
        (Query(color="red", extreme="rightmost"), (1,)),
        (Query(color="blue", extreme="lowest"), (3,)),
        (Query(relation=Relation(name="left", anchor=2)), (0,)),
        (Query(color="blue", relation=Relation(name="above", anchor=Query(category="star"))), (2,)),
        (Query(relation=Relation(name="inside", anchor=Query(category="star"))), ()),
    ],
)
def test_select_finds_what_all_conditions_hold_for(facts, query, found):
    assert select(facts, query) == found


def test_a_relation_to_something_not_unique_or_absent_is_left_open(facts):
    assert select(facts, Query(relation=Relation(name="left", anchor=Query(color="red")))) is None
    assert select(facts, Query(relation=Relation(name="left", anchor=Query(color="pink")))) is None


def test_the_most_of_one_or_of_equals_is_left_open(facts):
    assert select(facts, Query(category="star", extreme="lowest")) is None
    assert select(facts, Query(color="red", extreme="topmost")) is None
    assert select(facts, Query(color="red", extreme="biggest")) is None


def test_the_biggest_is_bigger_than_every_other(make_scene):
    facts = SceneFacts(make_scene(thing(15, 50, 4), thing(45, 50, 12), thing(85, 50, 7)))
    assert select(facts, Query(extreme="biggest")) == (1,)
    assert select(facts, Query(extreme="smallest")) == (0,)


def test_a_borderline_case_leaves_it_open_unless_another_condition_refuses_it(make_scene):
    facts = SceneFacts(make_scene(thing(15, 50), thing(43, 50, color="blue")))
    assert select(facts, Query(places=("left",))) is None
    assert select(facts, Query(places=("left",), color="red")) == (0,)


def test_what_a_faint_thing_answers_to_is_left_open(make_scene):
    facts = SceneFacts(make_scene(thing(15, 50), faint=[thing(85, 50, 1)]))
    assert select(facts, Query(color="red")) is None
    assert select(facts, Query(color="red", places=("left",))) == (0,)
    assert select(facts, Query(color="blue")) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "huge"},
        {"extreme": "oldest"},
        {"places": ("outside",)},
        {"relation": Relation(name="under", anchor=0)},
    ],
)
def test_an_unknown_condition_is_refused(wrong):
    with pytest.raises(ValueError, match="allowed are"):
        Query(**wrong)
