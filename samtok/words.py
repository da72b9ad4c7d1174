"""Mask words: the text a language model reads and writes for a mask.

Bottom of the library, pure text. The tokenizer gives codes, `format_codes` writes them into a
prompt or an answer, `parse` finds them again in whatever a model emitted, so that they can be
decoded, rewarded or measured.

A mask is one code from each of two books. The code c of book b is the word of number 256·b + c,
four digits, and a mask is written ``<|mt_start|><|mt_0011|><|mt_0347|><|mt_end|>``.

Letters: N masks.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any, Literal, Protocol

MASK_START = "<|mt_start|>"
MASK_END = "<|mt_end|>"
NUM_BOOKS = 2
CODEBOOK_SIZE = 256
MISSING_CODE = -1
"""Stands for a second code that is not there: the mask is decoded from its first code alone."""

SpanStatus = Literal["well_formed", "repaired", "rejected"]

# Everything between the bars that is neither start nor end is a code word, perhaps a malformed
# one. It cannot hold a "<", where the next attempt begins, nor be retried shorter (possessive
# repeat): no character is looked at by two attempts, so a scan is linear in the text.
_WORD = re.compile(r"<\|mt_([^<>|\s]*+)\|>")
_CODE = re.compile(r"[0-9]{4}")


class _HasToList(Protocol):
    def tolist(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class MaskSpan:
    """One mask found in a text, or one place where a mask was begun and cannot be read."""

    codes: tuple[int, int] | None
    """Per-book codes, each 0..255; the second is -1 when missing; None when rejected."""
    start: int
    """Character position of the first character of the span."""
    end: int
    """Character position after the last one: ``text[start:end]`` is the span."""
    status: SpanStatus
    """"well_formed": exactly as `format_codes` writes two codes; "repaired": read with defects;
    "rejected": no first code could be read."""
    defects: tuple[str, ...] = ()
    """What was wrong, as stable names: missing_start, missing_end, spaces_inside, no_codes,
    extra_codes, books_swapped, malformed_word, first_code_out_of_range,
    second_code_out_of_range, second_code_missing."""


def list_mask_words() -> list[str]:
    """All 514 words a vocabulary needs: start, end, then the code words in order of number."""
    numbers = range(NUM_BOOKS * CODEBOOK_SIZE)
    return [MASK_START, MASK_END, *(_format_word(number) for number in numbers)]


def format_codes(codes: Sequence[Sequence[int]] | _HasToList) -> list[str]:
    """Write codes as text, one string per mask.

    Args:
        codes: integers, shape (N, 2): nested sequence, array or tensor. The first of a row is
            0..255, the second 0..255 or -1 for missing; a missing code is left out.

    Returns:
        N strings, e.g. ``"<|mt_start|><|mt_0011|><|mt_0347|><|mt_end|>"``.

    Raises:
        ValueError: a row is not a pair, or a code is out of range; the message names both.
        TypeError: a code is not an integer.
    """
    rows = codes.tolist() if hasattr(codes, "tolist") else codes
    return [_format_row(row, position) for position, row in enumerate(rows)]


def parse(text: str) -> list[MaskSpan]:
    """Find every mask in a text, whole or damaged, in time linear in its length.

    Each span is read by itself, so a damaged mask never shifts the codes of its neighbours. A span
    is a run of words with at most white space between them, from a start to the next end or start.
    Read with repair: a missing start or end, white space, one code (the second is missing), codes
    after the second (dropped), a second code of no use (missing), two codes in the wrong order
    (swapped), and several whole pairs between one start and one end (one span each).

    Args:
        text: anything a model wrote; spans may sit in prose, JSON or tags. Words are
            case-sensitive and carry exactly four digits.

    Returns:
        Spans in text order, not overlapping; rejected ones included, with `codes` None.

    Source: ours. The published readers pair all codes of a text in order of appearance and repair
    only texts with an odd number of codes; `tests/samtok/test_words.py` lists where we differ.
    """
    return [span for run in _split_runs(text) for span in _read_run(run)]


def split_think_answer(text: str) -> tuple[str | None, str | None]:
    """Split a response into its reasoning and its answer, as the published evaluation does.

    An answer without its closing tag goes on to the end; without the opening tag it is all that
    follows ``</think>``. White space is kept. Of several answers the first counts.

    Args:
        text: a model's response.

    Returns:
        The text of each part without tags, ``""`` for a part that is absent; (None, None) when the
        response has neither ``</think>`` nor ``<answer>``, that is, when it is not structured.
    """
    thought, think_end, rest = text.partition("</think>")
    if not think_end:
        thought, rest = "", text
    before, answer_start, answer = rest.partition("<answer>")
    if not think_end and not answer_start:
        return None, None
    if not think_end:
        thought = before.partition("<think>")[2]
    _, think_start, inside = thought.partition("<think>")
    body = answer if answer_start else rest
    return (inside if think_start else thought), body.partition("</answer>")[0]


@dataclass(slots=True)
class _Run:
    """Words of one opened, or merely coherent, group, before they are read as masks."""

    start: int
    end: int
    has_start: bool
    has_end: bool = False
    has_spaces: bool = False
    numbers: list[int | None] = field(default_factory=list)
    """Numbers of the code words as written; None for a malformed word."""
    ends: list[tuple[int, int]] = field(default_factory=list)
    """Position before and after each code word."""


def _split_runs(text: str) -> Iterator[_Run]:
    run: _Run | None = None
    for match in _WORD.finditer(text):
        word = match.group(1)
        gap = text[run.end : match.start()] if run else ""
        if run and (word == "start" or (gap and not gap.isspace())):
            yield run
            run = None
        if run is None:
            run = _Run(match.start(), match.end(), has_start=word == "start")
        else:
            run.has_spaces |= bool(gap)
        run.end = match.end()
        if word == "end":
            run.has_end = True
            yield run
            run = None
        elif word != "start":
            run.numbers.append(int(word) if _CODE.fullmatch(word) else None)
            run.ends.append(match.span())
    if run:
        yield run


def _read_run(run: _Run) -> Iterator[MaskSpan]:
    if not _is_whole_pairs(run.numbers):
        yield _read_span(run)
        return
    last = len(run.numbers) - NUM_BOOKS
    for first in range(0, last + 1, NUM_BOOKS):
        yield _read_span(
            _Run(
                start=run.start if first == 0 else run.ends[first][0],
                end=run.end if first == last else run.ends[first + 1][1],
                has_start=run.has_start and first == 0,
                has_end=run.has_end and first == last,
                has_spaces=run.has_spaces,
                numbers=run.numbers[first : first + NUM_BOOKS],
            )
        )


def _is_whole_pairs(numbers: list[int | None]) -> bool:
    """Whether the codes alternate first book, second book, for two masks or more."""
    if len(numbers) <= NUM_BOOKS or len(numbers) % NUM_BOOKS:
        return False
    books = [None if number is None else number // CODEBOOK_SIZE for number in numbers]
    return books == [0, 1] * (len(numbers) // NUM_BOOKS)


def _read_span(run: _Run) -> MaskSpan:
    codes, defects = _read_codes(run.numbers)
    if not run.has_start:
        defects.append("missing_start")
    if not run.has_end:
        defects.append("missing_end")
    if run.has_spaces:
        defects.append("spaces_inside")
    status: SpanStatus = "repaired" if defects else "well_formed"
    return MaskSpan(codes, run.start, run.end, status if codes else "rejected", tuple(defects))


def _read_codes(numbers: list[int | None]) -> tuple[tuple[int, int] | None, list[str]]:
    """Per-book codes of one span's words, and what was wrong with the words."""
    if not numbers:
        return None, ["no_codes"]
    defects = ["extra_codes"] if len(numbers) > NUM_BOOKS else []
    first = _to_code(numbers[0], book=0)
    if first is None and len(numbers) == NUM_BOOKS:
        swapped = _to_code(numbers[1], book=0), _to_code(numbers[0], book=1)
        if swapped[0] is not None and swapped[1] is not None:
            return (swapped[0], swapped[1]), ["books_swapped"]
    if first is None:
        return None, [*defects, _name_defect(numbers[0], "first_code_out_of_range")]
    if len(numbers) < NUM_BOOKS:
        return (first, MISSING_CODE), ["second_code_missing"]
    second = _to_code(numbers[1], book=1)
    if second is None:
        defects.append(_name_defect(numbers[1], "second_code_out_of_range"))
        second = MISSING_CODE
    return (first, second), defects


def _to_code(number: int | None, *, book: int) -> int | None:
    if number is None or number // CODEBOOK_SIZE != book:
        return None
    return number % CODEBOOK_SIZE


def _name_defect(number: int | None, out_of_range: str) -> str:
    return "malformed_word" if number is None else out_of_range


def _format_word(number: int) -> str:
    return f"<|mt_{number:04d}|>"


def _format_row(row: Sequence[int], position: int) -> str:
    if not isinstance(row, Sequence) or len(row) != NUM_BOOKS:
        raise ValueError(f"codes must be pairs, shape (N, {NUM_BOOKS}); row {position} is {row!r}")
    words = []
    for book, value in enumerate(row):
        code = index(value)
        if book > 0 and code == MISSING_CODE:
            continue
        if not 0 <= code < CODEBOOK_SIZE:
            missing = " or -1 (missing)" if book > 0 else ""
            raise ValueError(
                f"code {code} of row {position}, book {book}, must be "
                f"0..{CODEBOOK_SIZE - 1}{missing}"
            )
        words.append(_format_word(book * CODEBOOK_SIZE + code))
    return f"{MASK_START}{''.join(words)}{MASK_END}"
