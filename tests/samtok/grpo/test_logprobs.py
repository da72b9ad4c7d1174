"""Log-probabilities in chunks, against the whole table of logits."""

import pytest
import torch

from samtok.grpo.logprobs import selected_logprobs

T, C, V = 23, 6, 40


def make_inputs(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(T, C, generator=generator).to(dtype).requires_grad_()
    head = torch.nn.Linear(C, V, dtype=dtype)
    with torch.no_grad():
        head.weight.copy_(torch.randn(V, C, generator=generator))
    return hidden, head, torch.randint(0, V, (T,), generator=generator)


@pytest.mark.parametrize("chunk_size", [1, 5, 23, 512])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_equal_those_of_the_whole_table(chunk_size, temperature):
    hidden, head, ids = make_inputs()
    weights = torch.linspace(-1, 1, T)
    table = (head(hidden) / temperature).log_softmax(1)
    whole = table.gather(1, ids[:, None])[:, 0]
    expected = torch.autograd.grad((whole * weights).sum(), [hidden, head.weight, head.bias])
    result = selected_logprobs(hidden, head, ids, temperature=temperature, chunk_size=chunk_size)
    found = torch.autograd.grad((result.logprobs * weights).sum(), [hidden, head.weight, head.bias])
    torch.testing.assert_close(result.logprobs, whole)
    torch.testing.assert_close(result.entropy, -(table.exp() * table).sum(1))
    assert not result.entropy.requires_grad
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_no_more_rows_of_logits_than_a_chunk_exist_or_are_kept():
    hidden, linear, ids = make_inputs()
    rows, kept = [], []

    def head(states):
        rows.append(len(states))
        return linear(states)

    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        logprobs = selected_logprobs(hidden, head, ids, chunk_size=4).logprobs
    assert max(kept, default=0) <= hidden.numel()
    logprobs.sum().backward()
    assert max(rows) == 4
    assert sum(rows) == 2 * T


def test_half_precision_is_summed_in_single():
    hidden, head, ids = make_inputs(torch.bfloat16)
    result = selected_logprobs(hidden, head, ids)
    assert result.logprobs.dtype == torch.float32
    expected = head(hidden).float().log_softmax(1).gather(1, ids[:, None])[:, 0]
    torch.testing.assert_close(result.logprobs, expected)


def test_words_that_cannot_come_have_no_part_in_the_entropy():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    result = selected_logprobs(logits, torch.nn.Identity(), torch.tensor([1]))
    assert result.logprobs.tolist() == pytest.approx([-0.6931472])
    assert result.entropy.tolist() == pytest.approx([0.6931472])


def test_no_tokens_have_no_logprobs():
    hidden, head, ids = make_inputs()
    assert selected_logprobs(hidden[:0], head, ids[:0]).logprobs.shape == (0,)


def test_bad_input_is_refused():
    hidden, head, ids = make_inputs()
    with pytest.raises(ValueError, match="temperature"):
        selected_logprobs(hidden, head, ids, temperature=0)
    with pytest.raises(ValueError, match=r"\(T, C\)"):
        selected_logprobs(hidden, head, ids[:-1])
