"""Run-length codes of masks, as COCO writes them: the only file that imports pycocotools.

A mask is read column by column; the counts are the lengths of its runs, background first. Packed
into text, each count is written five bits to a character, and from the fourth on as a difference
to the count two places before. We unpack and check the counts ourselves, since pycocotools 2.0.11
returns uninitialised memory for a cut string and for runs that end short.

Letters: N masks, H W pixels.
"""

from collections.abc import Mapping, Sequence
from reprlib import repr as shorten
from typing import Any, TypedDict

import numpy as np
from pycocotools import mask as coco

from samtok.errors import InputError

MAX_PIXELS = 2**28
"""Largest image, in pixels, whose masks are decoded; beyond it a declared size is not believed."""

_FIRST_CHARACTER = 48
_PAYLOAD, _SIGN, _MORE = 0x1F, 0x10, 0x20
_BITS_PER_CHARACTER = 5
# Six characters hold any difference of counts up to MAX_PIXELS; one more for wasteful writers.
_MAX_CHARACTERS_PER_COUNT = 7
_MERGE_FAN_IN = 32


class Rle(TypedDict):
    """A mask in the one form this project stores: COCO's compressed run-length code as text."""

    size: list[int]
    """[H, W], in this order."""
    counts: str
    """Compressed counts, ASCII."""


def check_image_size(height: Any, width: Any) -> None:
    """Refuse an image size that is no size, or one too large to be decoded safely.

    Args:
        height: pixels, an integer from 1 up.
        width: pixels, likewise; the product is at most `MAX_PIXELS`.

    Raises:
        InputError: ``image_size_malformed`` or ``image_too_large``.
    """
    if not _is_size([height, width]):
        detail = f"height {shorten(height)} and width {shorten(width)} must be integers from 1 up"
        raise InputError("image_size_malformed", detail)
    if int(height) * int(width) > MAX_PIXELS:
        detail = f"{width} by {height} pixels; at most {MAX_PIXELS} are decoded"
        raise InputError("image_too_large", detail)


def encode_rle(mask: np.ndarray) -> Rle:
    """Encode one mask; the same mask always gives the same text.

    Args:
        mask: bool or integer (non-zero is foreground), shape (H, W).

    Raises:
        ValueError: mask is not two-dimensional.
        InputError: ``image_size_malformed`` or ``image_too_large``.
    """
    if mask.ndim != 2:
        raise ValueError(f"mask has shape {mask.shape}; expected (H, W)")
    check_image_size(*mask.shape)
    encoded = coco.encode(np.asfortranarray(mask != 0, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decode one RLE, packed or not, after checking it; an all-background mask is fine.

    Args:
        rle: ``size`` [H, W] and ``counts``: text, bytes or a list of integers.

    Returns:
        bool, shape (H, W), C order.

    Raises:
        InputError: ``segmentation_malformed``, ``image_too_large``, ``rle_counts_malformed`` or
            ``rle_counts_sum``.
    """
    runs, (height, width) = read_runs(rle)
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def decode_rles(rles: Sequence[Mapping[str, Any]], height: int, width: int) -> np.ndarray:
    """Decode the RLEs of one image.

    Args:
        rles: N of them, each as in `decode_rle`; N may be 0.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        bool, shape (N, H, W).

    Raises:
        InputError: as `decode_rle`, or ``rle_size_mismatch``; the detail names the index.
    """
    masks = np.empty((len(rles), height, width), dtype=bool)
    for position, rle in enumerate(rles):
        try:
            check_rle_size(rle, height, width)
            masks[position] = decode_rle(rle)
        except InputError as error:
            raise InputError(error.reason, f"mask {position}: {error.detail}") from None
    return masks


def rle_area(rle: Mapping[str, Any]) -> int:
    """Count the foreground pixels of an RLE without decoding it; raises as `decode_rle`."""
    runs, _ = read_runs(rle)
    return int(runs[1::2].sum())


def rle_box(rle: Mapping[str, Any]) -> np.ndarray:
    """Box around the foreground of an RLE, without decoding it.

    Returns:
        float32, shape (4,): xyxy in pixels, x1 and y1 the last pixel inside.

    Raises:
        InputError: as `decode_rle`, or ``mask_empty``.
    """
    runs, (height, _) = read_runs(rle)
    stops = np.cumsum(runs)[1::2]
    lengths = runs[1::2]
    starts, last = (stops - lengths)[lengths > 0], stops[lengths > 0] - 1
    if len(starts) == 0:
        raise InputError("mask_empty", "the RLE has no foreground, so it has no box")
    top, bottom = (starts % height).min(), (last % height).max()
    if (starts // height != last // height).any():
        # A run that goes on in the next column holds the last row of one and the first of another.
        top, bottom = 0, height - 1
    return np.array([starts[0] // height, top, last[-1] // height, bottom], dtype=np.float32)


def check_rle_size(rle: Mapping[str, Any], height: int, width: int) -> None:
    """Refuse an RLE whose declared size is not the image's.

    Raises:
        InputError: ``segmentation_malformed`` or ``rle_size_mismatch``.
    """
    size = _read_size(rle)
    if size != (height, width):
        detail = f"the RLE has [height, width] {list(size)}, its image {[height, width]}"
        raise InputError("rle_size_mismatch", detail)


def read_runs(rle: Mapping[str, Any]) -> tuple[np.ndarray, tuple[int, int]]:
    """Check an RLE of any form and give its runs.

    Returns:
        Run lengths, int64, background first, summing to H·W; and (H, W).

    Raises:
        InputError: as `decode_rle`.
    """
    height, width = _read_size(rle)
    check_image_size(height, width)
    counts = rle.get("counts")
    if isinstance(counts, str | bytes):
        runs = _unpack_counts(counts, height * width)
    elif isinstance(counts, list | tuple | np.ndarray):
        runs = _read_count_list(counts, height * width)
    else:
        detail = f"RLE counts are {type(counts).__name__}; expected text, bytes or a list"
        raise InputError("segmentation_malformed", detail)
    _check_runs(runs, height * width)
    return runs, (height, width)


def rasterize_polygons(parts: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Fill polygons as COCO does: each by itself, then their union.

    Args:
        parts: float64, shapes (P, 2), xy pixels: already checked and of bounded length, since
            pycocotools writes out of bounds on anything else.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        bool, shape (H, W).
    """
    rles = coco.frPyObjects([part.ravel().tolist() for part in parts], height, width)
    while len(rles) > 1:
        # One merge of n codes takes n² time; a tree of small merges does not.
        groups = range(0, len(rles), _MERGE_FAN_IN)
        rles = [coco.merge(rles[first : first + _MERGE_FAN_IN]) for first in groups]
    return decode_rle(rles[0])


def _is_size(size: Any) -> bool:
    return len(size) == 2 and all(
        isinstance(side, int | np.integer) and not isinstance(side, bool) and side > 0
        for side in size
    )


def _read_size(rle: Mapping[str, Any]) -> tuple[int, int]:
    size = rle.get("size")
    if not isinstance(size, list | tuple | np.ndarray) or not _is_size(size):
        detail = f"RLE size is {shorten(size)}; expected [height, width], integers from 1 up"
        raise InputError("segmentation_malformed", detail)
    return int(size[0]), int(size[1])


def _check_runs(runs: np.ndarray, num_pixels: int) -> None:
    if len(runs) and runs.min() < 0:
        detail = f"a run has length {runs.min()}; lengths are 0 or more"
        raise InputError("rle_counts_malformed", detail)
    # Single runs first: a sum of runs of any length could overflow and look right.
    if len(runs) and runs.max() > num_pixels:
        detail = f"a run has length {runs.max()}, more than the image's {num_pixels} pixels"
        raise InputError("rle_counts_sum", detail)
    if runs.sum() != num_pixels:
        detail = f"the runs add up to {runs.sum()}, the image has {num_pixels} pixels"
        raise InputError("rle_counts_sum", detail)


def _read_count_list(counts: Sequence[Any] | np.ndarray, num_pixels: int) -> np.ndarray:
    _check_num_runs(len(counts), num_pixels)
    if isinstance(counts, np.ndarray):
        is_integer = counts.ndim == 1 and counts.dtype.kind in "iu"
    else:
        is_integer = all(type(count) is int or isinstance(count, np.integer) for count in counts)
    if not is_integer:
        raise InputError("rle_counts_malformed", "a count is not an integer")
    try:
        return np.asarray(counts, dtype=np.int64)
    except OverflowError:
        raise InputError("rle_counts_malformed", "a count does not fit 64 bits") from None


def _check_num_runs(num_runs: int, num_pixels: int) -> None:
    if num_runs > num_pixels + 1:
        detail = f"at least {num_runs} runs for {num_pixels} pixels; more than a mask can have"
        raise InputError("rle_counts_malformed", detail)


def _unpack_counts(counts: str | bytes, num_pixels: int) -> np.ndarray:
    """Unpack compressed counts, int64; signs and sums are still to be checked."""
    # Also bounds the memory taken below, before anything is allocated.
    _check_num_runs(len(counts) // _MAX_CHARACTERS_PER_COUNT, num_pixels)
    try:
        data = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise InputError("rle_counts_malformed", "the counts hold a non-ASCII character") from None
    if not data:
        return np.zeros(0, dtype=np.int64)
    characters = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if characters.min() < 0 or characters.max() > (_MORE | _PAYLOAD):
        raise InputError("rle_counts_malformed", "the counts hold a character outside '0'..'o'")
    ends = np.flatnonzero(characters & _MORE == 0)
    if len(ends) == 0 or ends[-1] != len(characters) - 1:
        raise InputError("rle_counts_malformed", "the counts end in the middle of a number")
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _MAX_CHARACTERS_PER_COUNT:
        detail = f"a count takes {lengths.max()} characters; {_MAX_CHARACTERS_PER_COUNT} suffice"
        raise InputError("rle_counts_malformed", detail)
    starts = ends - lengths + 1
    shifts = _BITS_PER_CHARACTER * (np.arange(len(characters)) - np.repeat(starts, lengths))
    values = np.add.reduceat((characters & _PAYLOAD) << shifts, starts)
    is_negative = characters[ends] & _SIGN != 0
    values -= is_negative.astype(np.int64) << (_BITS_PER_CHARACTER * lengths)
    # The first three counts are written as they are, the others as differences two places back.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
