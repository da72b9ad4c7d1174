"""What a worker reports of its speed and memory."""

import mmap
import sys

import pytest
import torch

from pipelines.training.throughput import Throughput

SIZE = 1 << 28  # a quarter of a GiB


def memory():
    return Throughput(torch.device("cpu"), ()).report()["worker_memory_gib"]


def write_to(pages):
    for first in range(0, SIZE, mmap.PAGESIZE):
        pages[first] = 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what memory is shared")
def test_memory_is_the_worker_s_own():
    """Pages straight from the system: the heap may have room that others have left."""
    before = memory()
    with mmap.mmap(-1, SIZE, mmap.MAP_SHARED) as shared:  # as the object store's
        write_to(shared)
        assert memory() - before == pytest.approx(0, abs=0.05)
        with mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as own:
            write_to(own)
            assert memory() - before == pytest.approx(0.25, abs=0.05)
