"""A fixture of the tests of training steps."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in the same order whatever else the machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
