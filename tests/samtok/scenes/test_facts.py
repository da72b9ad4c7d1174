"""Clear cases are yes or no, borderline cases neither. Scenes are 100 pixels a side."""

import pytest

from samtok.scenes.facts import NO, UNCLEAR, YES, SceneFacts


def box(x, y, half=5):
    return {"box": (x - half, y - half, x + half, y + half)}


@pytest.mark.parametrize(
    ("first", "second", "left", "above"),
    [
        ((20, 50), (70, 50), YES, NO),
        ((70, 50), (20, 50), NO, NO),
        ((20, 20), (70, 40), YES, NO),  # 50 across, 20 down
        ((20, 20), (40, 80), NO, YES),
        ((20, 20), (60, 60), UNCLEAR, UNCLEAR),  # on the diagonal
        ((50, 50), (54, 50), UNCLEAR, NO),  # 4 % of the side apart
    ],
)
def test_directions_are_quarters_of_the_plane(make_scene, first, second, left, above):
    facts = SceneFacts(make_scene(box(*first), box(*second)))
    assert facts.relations["left"][0, 1] == left
    assert facts.relations["right"][1, 0] == left
    assert facts.relations["above"][0, 1] == above
    assert facts.relations["below"][1, 0] == above


def test_a_part_is_part_of_its_whole_and_not_beside_it_nor_smaller(make_scene):
    whole = {"box": (10, 10, 60, 30), "category": "car"}
    wheel = {"box": (10, 30, 16, 36), "category": "wheel", "part_of": 0}
    facts = SceneFacts(make_scene(whole, wheel))
    assert facts.relations["part"].tolist() == [[NO, NO], [YES, NO]]
    for name in ("left", "below", "bigger", "inside"):
        assert facts.relations[name][0, 1] == facts.relations[name][1, 0] == NO


def test_inside_means_enclosed_on_all_sides_also_in_a_hole(make_scene):
    frame = {"box": (10, 10, 60, 60), "hole": (15, 15, 55, 55)}
    facts = SceneFacts(make_scene(frame, box(35, 35), box(62, 35), box(85, 85)))
    inside = facts.relations["inside"]
    assert inside[:, 0].tolist() == [NO, YES, NO, NO]
    assert inside[0].tolist() == [NO, NO, NO, NO]


def test_mostly_inside_is_unclear(make_scene):
    # Columns 49..59 of the second, of which 49..57 lie in the first: 9 of 11.
    facts = SceneFacts(make_scene({"box": (10, 10, 57, 57)}, box(54, 35)))
    assert facts.relations["inside"][1, 0] == UNCLEAR


def test_bigger_needs_area_and_length_and_both_in_sight(make_scene):
    facts = SceneFacts(
        make_scene(
            box(20, 20, 10),
            box(50, 50, 5),
            box(80, 80, 9),
            {**box(80, 20, 5), "visible_share": 0.5},
        )
    )
    bigger = facts.relations["bigger"]
    assert bigger[0, 1] == YES
    assert bigger[1, 0] == NO
    assert bigger[0, 2] == UNCLEAR, "21 against 19 pixels a side"
    assert bigger[0, 3] == UNCLEAR, "half of it is hidden"


def test_places_and_sizes_leave_a_margin(make_scene):
    facts = SceneFacts(make_scene(box(20, 50), box(43, 50), box(80, 50), box(50, 90, 20)))
    assert facts.places["left"].tolist() == [YES, UNCLEAR, NO, NO]
    assert facts.places["right"].tolist() == [NO, NO, YES, NO]
    assert facts.places["middle"].tolist() == [NO, YES, NO, NO]
    assert facts.places["bottom"].tolist() == [NO, NO, NO, YES]
    assert facts.sizes["small"].tolist() == [YES, YES, YES, NO]  # 11 and 41 pixels long
    assert facts.sizes["large"].tolist() == [NO, NO, NO, YES]


def test_the_size_of_something_half_hidden_is_not_called_small(make_scene):
    facts = SceneFacts(make_scene({**box(20, 50), "visible_share": 0.5}))
    assert facts.sizes["small"][0] == UNCLEAR
    assert facts.sizes["large"][0] == UNCLEAR


def test_about_faint_things_only_what_can_be_seen_is_known(make_scene):
    facts = SceneFacts(make_scene(box(20, 50), faint=[box(80, 50, 1)]))
    assert facts.num_objects == 1
    assert facts.relations["left"][0, 1] == YES
    assert facts.relations["front"][1, 0] == UNCLEAR
    assert facts.relations["inside"][1, 0] == UNCLEAR


def test_an_empty_scene_has_empty_tables(make_scene):
    facts = SceneFacts(make_scene())
    assert all(table.shape == (0, 0) for table in facts.relations.values())
    assert all(table.shape == (0,) for table in (*facts.places.values(), *facts.sizes.values()))
