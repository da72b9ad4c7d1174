import numpy as np
import pytest

from tests.small_mllm import FAMILIES, build_small_mllm


@pytest.fixture(scope="session", params=FAMILIES)
def small_mllm(request):
    """A model of each family with random weights; tests must leave it as it is."""
    return build_small_mllm(request.param)


@pytest.fixture
def image():
    """48 x 32 pixels of noise: 4 x 6 image tokens of the small models."""
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
