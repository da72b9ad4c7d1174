"""What a worker reports of its speed and memory."""

import sys
from multiprocessing.shared_memory import SharedMemory

import pytest
import torch

from pipelines.training.throughput import Throughput

SIZE = 1 << 28  # a quarter of a GiB


def memory():
    return Throughput(torch.device("cpu"), ()).report()["worker_memory_gib"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what memory is shared")
def test_memory_is_the_worker_s_own():
    before = memory()
    shared = SharedMemory(create=True, size=SIZE)
    try:
        shared.buf[:] = bytes([1]) * SIZE  # now mapped, as pages of the object store
        assert memory() - before < 0.05
        own = bytearray(b"1") * SIZE
        assert memory() - before == pytest.approx(0.25, abs=0.05)
        del own
    finally:
        shared.close()
        shared.unlink()
