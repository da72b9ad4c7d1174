"""K-means against groups that are known."""

import pytest
import torch

from samtok.tokenizer.kmeans import cluster


def test_finds_separate_groups():
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = truth.repeat(40, 1) + 0.1 * torch.randn(120, 2, generator=generator)
    centres, counts = cluster(vectors, 3, generator=generator)
    assert sorted(counts.tolist()) == [40, 40, 40]
    assert torch.cdist(truth, centres).min(1).values.max() < 0.1


def test_too_few_vectors_are_refused():
    with pytest.raises(ValueError, match="2 vectors"):
        cluster(torch.zeros(2, 2), 3, generator=torch.Generator())
