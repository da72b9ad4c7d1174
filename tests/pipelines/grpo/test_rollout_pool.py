"""Actors that die, hang and fail, without a model."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
import ray

from pipelines.grpo.published_weights import PublishedWeights
from pipelines.grpo.rollout_pool import RolloutError, RolloutPool


class FaultyActor:
    """Doubles numbers; once for each file in a folder it dies or hangs in the middle."""

    def double(self, tasks, version, copies):
        (folder,) = copies
        for fault in ("die", "hang"):
            for file in Path(folder).glob(f"{fault}-*"):
                try:
                    file.unlink()
                except FileNotFoundError:  # the other actor was faster
                    continue
                if fault == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(600)
        return [(version, 2 * task) for task in tasks]


def start():
    return ray.remote(FaultyActor).options(num_cpus=0).remote()


def run(folder, chunks, **changes):
    options = {"num_actors": 2, "timeout_seconds": 20.0, "max_attempts": 3, **changes}

    async def call():
        pool = RolloutPool(start, **options)
        weights = PublishedWeights(7)
        weights.offer([str(folder)])
        return await pool.run("double", chunks, weights), pool.num_replaced

    return asyncio.run(call())


@pytest.mark.ray
def test_what_is_lost_is_done_again_and_nothing_twice(ray_cluster, tmp_path):
    for fault in ("die-0", "die-1", "hang-0"):
        (tmp_path / fault).touch()
    chunks = [[3 * n, 3 * n + 1, 3 * n + 2] for n in range(5)]
    results, num_replaced = run(tmp_path, chunks, max_attempts=4)
    assert [value for result in results for value in result] == [(7, 2 * n) for n in range(15)]
    assert num_replaced == 3


@pytest.mark.ray
def test_work_that_is_lost_again_and_again_is_an_error(ray_cluster, tmp_path):
    for number in range(3):
        (tmp_path / f"die-{number}").touch()
    with pytest.raises(RolloutError, match="lost 3 times"):
        run(tmp_path, [[1]], num_actors=1)


class Forgetful:
    """Says which copies it was told of; dies when it is told of none for the second time."""

    def __init__(self):
        self._num_calls = 0

    def tell(self, tasks, version, copies):
        self._num_calls += not copies
        if self._num_calls == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(copies)


@pytest.mark.ray
def test_only_who_was_not_sent_weights_is_told_of_a_copy(ray_cluster):
    async def call():
        pool = RolloutPool(
            ray.remote(Forgetful).options(num_cpus=0).remote,
            num_actors=1,
            timeout_seconds=60.0,
            max_attempts=2,
        )
        weights = PublishedWeights(7, pool.actors)
        first = await pool.run("tell", [[1]], weights)
        weights.offer(["copy"])
        return first + await pool.run("tell", [[2], [3]], weights)

    assert asyncio.run(call()) == [[], ["copy"], ["copy"]]
