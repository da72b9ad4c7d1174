import pytest
import torch

from samtok.mllm.constraint import MaskSpanConstraint
from samtok.mllm.vocabulary import MaskTokenIds

# A vocabulary of 10 texts, start, end and two books of 256, with rows to spare.
START, END, FIRST, SECOND, ROWS = 10, 11, 12, 268, 540
IDS = MaskTokenIds(START, END, torch.arange(FIRST, SECOND), torch.arange(SECOND, 524))
WORDS = {START, END, *range(FIRST, 524)}
OUTSIDE = set(range(ROWS)) - WORDS | {START}
BOOK_0, BOOK_1 = set(range(FIRST, SECOND)), set(range(SECOND, 524))
CASES = {
    "a text": ([1, 2, 3], OUTSIDE),
    "a text of one token": ([1], OUTSIDE),
    "after a start": ([1, 2, START], BOOK_0),
    "after the first word": ([2, START, FIRST + 7], BOOK_1),
    "after both words": ([START, FIRST, SECOND + 255], {END}),
    "after a span": ([START, FIRST + 255, SECOND, END], OUTSIDE),
    "a span begun after another": ([START, FIRST, SECOND, END, START], BOOK_0),
    "a first word that nothing opened": ([1, 2, FIRST], OUTSIDE),
    "both words that nothing opened": ([1, FIRST, SECOND], OUTSIDE),
    "two first words": ([START, FIRST, FIRST], OUTSIDE),
    "words in the wrong order": ([START, SECOND, FIRST], OUTSIDE),
    "a start begun anew": ([START, START], BOOK_0),
    "a text inside a span": ([START, FIRST, 1], OUTSIDE),
}


def list_allowed(constraint, rows):
    scores = torch.randn(len(rows), ROWS)
    after = constraint(torch.tensor(rows), scores)
    is_open = after != float("-inf")
    assert torch.equal(after[is_open], scores[is_open])
    return [set(row.nonzero().flatten().tolist()) for row in is_open]


@pytest.mark.parametrize("case", CASES)
def test_what_may_come_next(case):
    tokens, allowed = CASES[case]
    assert list_allowed(MaskSpanConstraint(IDS, ROWS), [tokens]) == [allowed]


def test_each_row_of_a_batch_stands_where_it_stands():
    longest = max(len(tokens) for tokens, _ in CASES.values())
    rows = [[0] * (longest - len(tokens)) + tokens for tokens, _ in CASES.values()]
    expected = [allowed for _, allowed in CASES.values()]
    assert list_allowed(MaskSpanConstraint(IDS, ROWS), rows) == expected


@pytest.mark.parametrize(("num_tokens", "may_open"), [(1, True), (6, True), (7, False), (9, False)])
def test_no_span_is_opened_that_the_limit_would_cut(num_tokens, may_open):
    constraint = MaskSpanConstraint(IDS, ROWS, max_length=10)
    (allowed,) = list_allowed(constraint, [[1] * num_tokens])
    assert allowed == (OUTSIDE if may_open else OUTSIDE - {START})
