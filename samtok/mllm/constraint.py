"""Mask spans that cannot be malformed: a grammar over the next token.

Letters: B rows, S tokens so far, V rows of the vocabulary's table.
"""

from __future__ import annotations

from typing import Final

import torch

from samtok.mllm.vocabulary import MaskTokenIds

SPAN_LENGTH: Final = 4
"""Tokens of a span: start, a word of each book, end."""

_OUTSIDE, _STARTED, _HAS_FIRST, _HAS_BOTH = range(4)
"""Where a text stands: in no span, or after the start, the first or the second word of one."""
_OTHER, _START, _BOOK_0, _BOOK_1 = range(4)
"""What a token is."""


class MaskSpanConstraint:
    """Logits processor of transformers: a span once opened is start, book 1, book 2, end.

    Outside a span, words of books and ends score minus infinity; so do, inside one, all tokens but
    those that go on with it. Where a row stands is read from its last three tokens, whether a
    prompt or the model wrote them; words that follow no start open nothing.

    Args:
        ids: of the mask words.
        num_rows: V, of the vocabulary's table.
        max_length: tokens a row may have in all, prompt and padding on the left included; no span
            is opened that could not be closed within them. None where there is no limit.
    """

    def __init__(self, ids: MaskTokenIds, num_rows: int, *, max_length: int | None = None) -> None:
        self._start = ids.start
        self._max_length = max_length
        kinds = torch.full((num_rows,), _OTHER)
        kinds[ids.start] = _START
        kinds[ids.book_0] = _BOOK_0
        kinds[ids.book_1] = _BOOK_1
        self._kinds = kinds
        is_allowed = torch.zeros(4, num_rows, dtype=torch.bool)
        is_allowed[_OUTSIDE] = (kinds == _OTHER) | (kinds == _START)
        is_allowed[_OUTSIDE, ids.end] = False
        is_allowed[_STARTED] = kinds == _BOOK_0
        is_allowed[_HAS_FIRST] = kinds == _BOOK_1
        is_allowed[_HAS_BOTH, ids.end] = True
        self._is_allowed = is_allowed

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of the next token, (B, V), for tokens so far, int64 (B, S)."""
        self._kinds = self._kinds.to(scores.device)
        self._is_allowed = self._is_allowed.to(scores.device)
        is_allowed = self._is_allowed[self._find_states(input_ids)]
        if self._max_length is not None and input_ids.shape[1] + SPAN_LENGTH > self._max_length:
            is_allowed[:, self._start] = False
        return scores.masked_fill(~is_allowed, float("-inf"))

    def _find_states(self, input_ids: torch.Tensor) -> torch.Tensor:
        """int64, shape (B,)."""
        kinds = self._kinds[input_ids[:, -3:]]
        kinds = torch.nn.functional.pad(kinds, (3 - kinds.shape[1], 0), value=_OTHER)
        third, second, last = kinds.unbind(1)
        has_first = (second == _START) & (last == _BOOK_0)
        has_both = (third == _START) & (second == _BOOK_0) & (last == _BOOK_1)
        # At most one holds, so states add up.
        return (last == _START) * _STARTED + has_first * _HAS_FIRST + has_both * _HAS_BOTH
