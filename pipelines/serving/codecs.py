"""Images and masks as they travel in requests and answers ↔ what the tokenizer takes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

from pipelines.serving.calls import Decoded, SentImage
from pipelines.serving.errors import refuse
from pipelines.serving.limits import Limits
from pipelines.serving.schemas import Box, DecodedMask, Mask, MaskFormat, Point, RleMask
from samtok.errors import InputError
from samtok.masks import (
    Rle,
    bitmap_to_mask,
    decode_rle,
    encode_rle,
    mask_to_polygons,
    rle_area,
    rle_box,
    segmentation_to_rle,
)
from samtok.words import MaskSpan

_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,", re.IGNORECASE)
_MEDIA_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_MASK_MODES: Final = ("1", "L")


def read_image(image: str | bytes, limits: Limits) -> SentImage:
    """An image of a request: its header is read, its pixels are left alone.

    Args:
        image: the file, or its base64, bare or as a data URL.
        limits: of requests.

    Raises:
        ApiError: ``image_not_base64``, ``image_url_refused``, ``image_unreadable``,
            ``image_type_mismatch`` or ``image_too_large``.
    """
    content, declared = (image, None) if isinstance(image, bytes) else _read_base64(image, "image")
    media_type, (width, height), _ = _read_header(content, tuple(_MEDIA_TYPES), "image")
    if declared is not None and declared != media_type:
        raise refuse(
            "image_type_mismatch", f"the data URL says {declared}, but the file is {media_type}"
        )
    if width * height > limits.max_image_pixels:
        raise refuse(
            "image_too_large",
            f"the image is {width} x {height}; at most {limits.max_image_pixels} pixels are read",
        )
    return SentImage(content, hashlib.sha256(content).hexdigest(), height, width)


def read_masks(masks: Sequence[Mask], height: int, width: int, limits: Limits) -> tuple[Rle, ...]:
    """The masks of a request, checked, in the one form that travels on.

    Args:
        masks: as sent.
        height: of the image, pixels.
        width: of the image, pixels.
        limits: of requests.

    Raises:
        ApiError: ``too_many_masks``, or what is wrong with a mask; the message has its position.
    """
    check_num_masks(len(masks), height, width, limits)
    rles = []
    for position, mask in enumerate(masks):
        try:
            rles.append(
                segmentation_to_rle(_read_segmentation(mask, (width, height)), height, width)
            )
        except InputError as error:
            raise refuse(error.reason, f"mask {position}: {error.detail}") from None
    return tuple(rles)


def read_boxes(
    boxes: Sequence[Box], height: int, width: int, limits: Limits
) -> tuple[tuple[int, int, int, int], ...]:
    """The boxes of a request on pixels, cut at the edges of the image.

    Args:
        boxes: as sent.
        height: of the image, pixels.
        width: of the image, pixels.
        limits: of requests.

    Raises:
        ApiError: ``too_many_masks``, ``masks_too_large``, ``box_malformed`` or
            ``box_outside_image``; the message has its position.
    """
    check_num_masks(len(boxes), height, width, limits)
    read = []
    for position, (x0, y0, x1, y1) in enumerate(boxes):
        if x1 < x0 or y1 < y0:
            raise refuse(
                "box_malformed",
                f"box {position}: x0, y0 is the upper left corner, x1, y1 the other",
            )
        if x0 > width - 1 or y0 > height - 1:
            raise refuse(
                "box_outside_image", f"box {position} lies outside the image, {width} x {height}"
            )
        corners = (x0, y0, min(x1, width - 1), min(y1, height - 1))
        left, top, right, bottom = (round(side) for side in corners)
        read.append((left, top, right, bottom))
    return tuple(read)


def read_points(
    points: Sequence[Sequence[Point]], height: int, width: int, limits: Limits
) -> tuple[tuple[tuple[int, int, bool], ...], ...]:
    """The points of a request on pixels.

    Args:
        points: as sent, a list for each thing.
        height: of the image, pixels.
        width: of the image, pixels.
        limits: of requests.

    Returns:
        x, y and whether it is inside, of each point on each thing.

    Raises:
        ApiError: ``too_many_masks``, ``masks_too_large``, ``too_many_points``,
            ``point_outside_image`` or ``points_all_outside``; the message has the position.
    """
    check_num_masks(len(points), height, width, limits)
    for position, of_thing in enumerate(points):
        if len(of_thing) > limits.max_points:
            raise refuse(
                "too_many_points",
                f"list {position} has {len(of_thing)} points; at most {limits.max_points} are read",
            )
        if not any(point.inside for point in of_thing):
            raise refuse(
                "points_all_outside",
                f"list {position} has only points that are left out; one on the thing is needed",
            )
        for point in of_thing:
            if point.x >= width or point.y >= height:
                raise refuse(
                    "point_outside_image",
                    f"list {position} has a point outside the image, {width} x {height}",
                )
    return tuple(
        tuple((int(point.x), int(point.y), point.inside) for point in of_thing)
        for of_thing in points
    )


def check_num_masks(num_masks: int, height: int, width: int, limits: Limits) -> None:
    """Refuse more masks than a call may have, or more than fit in memory at this size.

    Raises:
        ApiError: ``too_many_masks`` or ``masks_too_large``.
    """
    if num_masks > limits.max_masks:
        raise refuse("too_many_masks", f"{num_masks} masks; at most {limits.max_masks} in a call")
    if num_masks * height * width > limits.max_mask_pixels:
        raise refuse(
            "masks_too_large",
            f"{num_masks} masks of {width} x {height}; at most {limits.max_mask_pixels} pixels "
            "of masks in a call",
        )


def write_mask(mask: np.ndarray, form: MaskFormat) -> Mask:
    """A mask for an answer.

    Args:
        mask: bool, shape (H, W).
        form: asked for; each gives back exactly this mask.
    """
    if form == "polygons":
        return Mask(polygons=mask_to_polygons(mask))
    if form == "png":
        file = io.BytesIO()
        Image.fromarray(mask).save(file, format="PNG")
        return Mask(png=base64.b64encode(file.getvalue()).decode("ascii"))
    rle = encode_rle(mask)
    return Mask(rle=RleMask(size=(rle["size"][0], rle["size"][1]), counts=rle["counts"]))


def write_spans(
    spans: Sequence[MaskSpan], decoded: Decoded | None, form: MaskFormat
) -> list[DecodedMask]:
    """Mask spans of a text for an answer.

    Args:
        spans: all, those without codes too.
        decoded: of the first spans that have codes; the rest, or all, get no mask.
        form: of the masks.
    """
    found: Iterator[tuple[Rle, float]] = iter(())
    if decoded is not None:
        found = zip(decoded.masks, decoded.confidence, strict=True)
    written = []
    for span in spans:
        rle, confidence = (next(found, None) if span.codes else None) or (None, None)
        written.append(_write_span(span, rle, confidence, form))
    return written


def _write_span(
    span: MaskSpan, rle: Rle | None, confidence: float | None, form: MaskFormat
) -> DecodedMask:
    area = None if rle is None else rle_area(rle)
    return DecodedMask(
        start=span.start,
        end=span.end,
        status=span.status,
        defects=list(span.defects),
        codes=span.codes,
        mask=None if rle is None else write_mask(decode_rle(rle), form),
        box=write_box(rle) if rle is not None and area else None,
        area=area,
        confidence=confidence,
    )


def write_box(rle: Rle) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask that is not empty, the last pixel inside."""
    x0, y0, x1, y1 = (int(side) for side in rle_box(rle))
    return x0, y0, x1, y1


def _read_segmentation(mask: Mask, size: tuple[int, int]) -> Any:
    if mask.rle is not None:
        return {"size": list(mask.rle.size), "counts": mask.rle.counts}
    if mask.polygons is not None:
        return mask.polygons
    assert mask.png is not None
    return encode_rle(_read_mask_png(mask.png, size))


def _read_mask_png(text: str, size: tuple[int, int]) -> np.ndarray:
    content, _ = _read_base64(text, "mask")
    _, found, mode = _read_header(content, ("PNG",), "mask")
    if found != size:
        raise InputError(
            "mask_size_mismatch",
            f"the PNG is {found[0]} x {found[1]}, the image {size[0]} x {size[1]}",
        )
    if mode not in _MASK_MODES:
        raise InputError("bitmap_malformed", f"the PNG has mode {mode}; one channel is expected")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return bitmap_to_mask(np.asarray(image))
    except InputError:
        raise
    except Exception as error:  # PIL's readers let whatever a broken file causes escape
        raise InputError("bitmap_malformed", f"the PNG cannot be decoded: {error}") from error


def _read_base64(text: str, what: str) -> tuple[bytes, str | None]:
    """The bytes, and the media type that a data URL declares."""
    declared = None
    if match := _DATA_URL.match(text):
        declared, text = match[1].lower(), text[match.end() :]
    elif "://" in text[:32] or text.startswith("data:"):
        raise refuse(
            f"{what}_url_refused",
            f"the {what} is an address that nothing is fetched from; data URLs in base64 are read",
        )
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refuse(f"{what}_not_base64", f"the {what} is not base64: {error}") from None
    return content, declared


def _read_header(
    content: bytes, formats: tuple[str, ...], what: str
) -> tuple[str, tuple[int, int], str]:
    """Media type, (width, height) and mode of a picture, nothing of it decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=formats) as image:
                assert image.format is not None
                return _MEDIA_TYPES[image.format], image.size, image.mode
    except Image.DecompressionBombError:
        raise refuse(f"{what}_too_large", f"the {what} declares too many pixels") from None
    except Exception:  # PIL's readers let whatever a broken file causes escape
        kinds = ", ".join(_MEDIA_TYPES[kind] for kind in formats)
        raise refuse(f"{what}_unreadable", f"the {what} is none of {kinds}, or broken") from None
