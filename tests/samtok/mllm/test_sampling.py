import pytest
import torch

from samtok.mllm.sampling import SeededSampling, keep_top_p

PROBABILITIES = torch.tensor([0.5, 0.3, 0.15, 0.05])


def draw(scores, seeds, **settings):
    sampling = SeededSampling(seeds, **{"temperature": 1.0, "top_p": 1.0, **settings})
    return sampling(torch.zeros(len(seeds), 1, dtype=torch.int64), scores).argmax(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_are_drawn_from_the_softmax_over_the_temperature(temperature):
    seeds = list(range(4000))
    drawn = draw(PROBABILITIES.log().expand(4000, 4), seeds, temperature=temperature)

    expected = PROBABILITIES ** (1 / temperature)
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert torch.allclose(shares, expected / expected.sum(), atol=0.03)  # 4 deviations


@pytest.mark.parametrize(
    ("top_p", "kept"), [(1.0, 4), (0.96, 4), (0.94, 3), (0.79, 2), (0.4, 1), (1e-9, 1)]
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
    order = [2, 0, 3, 1]
    is_kept = keep_top_p(PROBABILITIES.log()[order][None], top_p)[0] != float("-inf")
    assert is_kept.tolist() == [rank < kept for rank in order]


def test_a_row_draws_the_same_whatever_is_beside_it():
    scores = torch.randn(3, 500, generator=torch.Generator().manual_seed(0))
    together = draw(scores, [7, 8, 9])
    assert draw(scores[1:2], [8]) == together[1]
    assert len({int(draw(scores[:1], [seed])) for seed in range(20)}) > 10


def test_what_is_forbidden_stays_forbidden():
    scores = torch.full((50, 4), float("-inf"))
    scores[:, 2] = -30.0
    assert draw(scores, list(range(50)), top_p=0.9).tolist() == [2] * 50
