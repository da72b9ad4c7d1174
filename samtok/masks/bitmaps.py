"""Masks that come as arrays: single bitmaps, label maps, and what callers hand to the tokenizer.

Letters: N masks, H W pixels.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from samtok.errors import InputError
from samtok.masks.rle import decode_rles

VOID_LABELS = (0, 255)
"""Background and, in VOC and DAVIS maps, the unlabelled border around objects."""


def bitmap_to_mask(bitmap: np.ndarray) -> np.ndarray:
    """Read one mask from a two-valued picture.

    Args:
        bitmap: bool, or integer with values 0 and 1 or 0 and 255; shape (H, W) or (H, W, 1).

    Returns:
        bool, shape (H, W); may be all False.

    Raises:
        InputError: ``bitmap_malformed``.
    """
    if bitmap.ndim == 3 and bitmap.shape[2] == 1:
        bitmap = bitmap[:, :, 0]
    if bitmap.ndim != 2 or bitmap.size == 0:
        raise InputError("bitmap_malformed", f"shape {bitmap.shape}; expected (H, W)")
    return _to_bool(bitmap)


def label_map_to_masks(
    label_map: np.ndarray, ignore: Collection[int] = VOID_LABELS
) -> dict[int, np.ndarray]:
    """Split a label map into one mask for each label.

    Args:
        label_map: integer, shape (H, W).
        ignore: labels that are no objects.

    Returns:
        Label → bool (H, W), in ascending order of label.

    Raises:
        InputError: ``label_map_malformed``.
    """
    if label_map.ndim != 2 or label_map.dtype.kind not in "iu":
        detail = f"{label_map.dtype} of shape {label_map.shape}; expected integers (H, W)"
        raise InputError("label_map_malformed", detail)
    labels = np.unique(label_map).tolist()
    return {label: label_map == label for label in labels if label not in ignore}


def masks_to_label_map(masks: np.ndarray) -> np.ndarray:
    """Draw masks that do not overlap into one map.

    Args:
        masks: bool, shape (N, H, W).

    Returns:
        int32, shape (H, W): 0 for background, i + 1 for mask i.

    Raises:
        InputError: ``masks_overlap``, naming the first mask that covers another.
    """
    label_map = np.zeros(masks.shape[1:], dtype=np.int32)
    for position, mask in enumerate(masks):
        if label_map[mask].any():
            detail = f"mask {position} covers pixels of an earlier mask; a map holds one each"
            raise InputError("masks_overlap", detail)
        label_map[mask] = position + 1
    return label_map


def as_mask_array(
    masks: np.ndarray | Sequence[Mapping[str, Any]] | Any, height: int, width: int
) -> np.ndarray:
    """Bring the masks of one image into one array, whatever form they came in.

    Args:
        masks: bool or two-valued integer array (or CPU tensor) of shape (N, H, W), or a sequence
            of N RLEs; N may be 0, also as an empty list.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        bool, shape (N, H, W).

    Raises:
        InputError: ``mask_size_mismatch``, ``bitmap_malformed``, or as `decode_rles`; the detail
            names the index.
    """
    if isinstance(masks, Sequence) and all(isinstance(mask, Mapping) for mask in masks):
        return decode_rles(masks, height, width)
    array = np.asarray(masks)
    if array.ndim != 3 or array.shape[1:] != (height, width):
        detail = f"masks have shape {array.shape}; expected (N, {height}, {width})"
        raise InputError("mask_size_mismatch", detail)
    if array.dtype == bool:
        return array
    out = np.empty(array.shape, dtype=bool)
    for position, bitmap in enumerate(array):
        try:
            out[position] = _to_bool(bitmap)
        except InputError as error:
            raise InputError(error.reason, f"mask {position}: {error.detail}") from None
    return out


def _to_bool(bitmap: np.ndarray) -> np.ndarray:
    if bitmap.dtype == bool:
        return bitmap
    if bitmap.dtype.kind not in "iu":
        raise InputError("bitmap_malformed", f"{bitmap.dtype}; expected bool or integers")
    foreground: np.ndarray = bitmap != 0
    values = np.unique(bitmap[foreground])
    if values.tolist() not in ([], [1], [255]):
        detail = f"values {values[:4].tolist()} beside 0; expected only 1 or only 255"
        raise InputError("bitmap_malformed", detail)
    return foreground
