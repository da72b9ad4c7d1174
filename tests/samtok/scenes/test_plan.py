"""Plans: order of wholes and parts, and the list of categories."""

import numpy as np

from samtok.scenes.plan import list_categories, plan_objects


def make_plans(num, **more):
    known = {"height": 128, "width": 128, "empty_share": 0.0, "cluttered_share": 0.0, **more}
    return [plan_objects(np.random.default_rng(seed), **known) for seed in range(num)]


def test_parts_stand_right_behind_their_whole():
    parts = 0
    for planned in make_plans(100):
        for position, item in enumerate(planned):
            if item.part_of is not None:
                parts += 1
                assert planned[item.part_of].part_of is None
                between = planned[item.part_of + 1 : position]
                assert all(other.part_of == item.part_of for other in between)
    assert parts > 20


def test_every_planned_category_is_listed():
    planned = {item.category for plan in make_plans(300) for item in plan}
    assert planned <= set(list_categories())
    assert len(planned) > 30
    assert list_categories() == sorted(set(list_categories()))


def test_clutter_is_many_small_things_of_few_colours():
    for planned in make_plans(20, cluttered_share=1.0):
        wholes = [item for item in planned if item.part_of is None]
        assert len(wholes) >= 8
        assert len({item.color for item in wholes}) <= 3
        assert max(item.radius for item in wholes) <= 128 / 8
