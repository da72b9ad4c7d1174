"""Any ``segmentation`` field of a COCO annotation, from outside, to a mask.

The door through which annotations come in: polygons, uncompressed and compressed RLE.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from samtok.errors import InputError
from samtok.masks.polygons import explain_empty, read_polygons
from samtok.masks.rle import (
    Rle,
    check_image_size,
    check_rle_size,
    decode_rle,
    encode_rle,
    rasterize_polygons,
)


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Turn a COCO segmentation into a mask, or say what is wrong with it.

    Safe on anything a JSON file can hold. Polygons that leave the image are clipped; a part wholly
    outside adds nothing, but a defect in any part refuses the whole annotation.

    Args:
        segmentation: a list of polygons (flat lists of x, y in pixels), or an RLE
            ``{"size": [height, width], "counts": text, bytes or list of integers}``.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        bool, shape (H, W), at least one pixel True.

    Raises:
        InputError: with reason ``image_size_malformed``, ``image_too_large``,
            ``segmentation_empty``, ``segmentation_malformed``, ``polygon_not_a_number``,
            ``polygon_odd_coordinates``, ``polygon_too_few_points``, ``polygon_too_complex``,
            ``polygon_outside_image``, ``rle_size_mismatch``, ``rle_counts_malformed``,
            ``rle_counts_sum`` or ``mask_empty``.
    """
    check_image_size(height, width)
    if isinstance(segmentation, Mapping) and segmentation:
        check_rle_size(segmentation, height, width)
        mask = decode_rle(segmentation)
        if not mask.any():
            raise InputError("mask_empty", "the RLE has no foreground")
        return mask
    if segmentation is None or (isinstance(segmentation, list | tuple | dict) and not segmentation):
        raise InputError("segmentation_empty", f"the segmentation is {segmentation!r}")
    if not isinstance(segmentation, list | tuple):
        detail = f"the segmentation is {type(segmentation).__name__}; expected polygons or an RLE"
        raise InputError("segmentation_malformed", detail)
    parts = read_polygons(segmentation, height, width)
    mask = rasterize_polygons(parts, height, width)
    if not mask.any():
        raise explain_empty(parts, height, width)
    return mask


def segmentation_to_rle(segmentation: Any, height: int, width: int) -> Rle:
    """Turn a COCO segmentation into the one RLE form we store; takes and raises as decoding."""
    return encode_rle(decode_segmentation(segmentation, height, width))
