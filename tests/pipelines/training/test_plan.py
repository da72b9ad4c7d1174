"""What is read when: every image once an epoch, the same whoever reads, from any step on."""

from collections import Counter
from itertools import islice

import pytest

from pipelines.training.plan import Mixture, check_lanes, lanes_of, plan_windows, shuffle_of
from samtok.errors import ConfigError


def mixture(**changes):
    settings = {
        "starts": (range(1001),),
        "weights": (1.0,),
        "num_lanes": 4,
        "images_per_window": 50,
        "seed": 7,
    }
    return Mixture(**{**settings, **changes})


def rows(windows):
    return [(r.corpus, i, r.epoch) for w in windows for r in w.runs for i in range(r.start, r.stop)]


def test_lanes_share_an_epoch_and_miss_nothing():
    plan = mixture()
    seen = Counter()
    for lane in range(4):
        seen.update(row for row in rows(islice(plan_windows(plan, lane), 6)) if row[2] == 0)
    assert seen == Counter({(0, i, 0): 1 for i in range(1000)})


def test_epochs_have_other_orders():
    plan = mixture(num_lanes=1)
    both = rows(islice(plan_windows(plan, 0), 40))
    first, second = both[:1000], both[1000:]
    assert {i for _, i, _ in first} == {i for _, i, _ in second} == set(range(1000))
    assert [i for _, i, _ in first] != [i for _, i, _ in second]


def test_starting_in_the_middle_gives_the_same_windows():
    plan = mixture(starts=(range(301), range(91)), weights=(3.0, 1.0))
    whole = list(islice(plan_windows(plan, 2), 30))
    assert list(islice(plan_windows(plan, 2, first=11), 19)) == whole[11:]


def test_corpora_are_mixed_by_weight_in_every_stretch():
    """A small corpus with a third of the weight is read again and again."""
    plan = mixture(starts=(range(1001), range(41)), weights=(2.0, 1.0), num_lanes=2)
    for window in islice(plan_windows(plan, 1), 20):
        share = sum(r.stop - r.start for r in window.runs if r.corpus == 1) / 50
        assert share == pytest.approx(1 / 3, abs=0.05)


def test_windows_are_full_and_shuffled_as_wholes():
    plan = mixture()
    for window in islice(plan_windows(plan, 3), 10):
        order = shuffle_of(plan, window)
        assert sorted(order.tolist()) == list(range(50))
        assert order.tolist() != list(range(50))


def test_another_seed_gives_another_order():
    one = rows(islice(plan_windows(mixture(), 0), 3))
    assert rows(islice(plan_windows(mixture(seed=8), 0), 3)) != one


def test_workers_take_all_lanes_in_order():
    assert [list(lanes_of(6, rank, 3)) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ConfigError, match="6 micro-batches and the training 4 workers"):
        check_lanes(6, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": (1.0, 2.0)}, "1 corpora have 2 weights"),
        ({"weights": (0.0,)}, "above 0"),
        ({"starts": (range(4),)}, "3 images and a step 4"),
    ],
)
def test_bad_mixtures_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        mixture(**changes)
