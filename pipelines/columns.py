"""Names, types and meaning of the columns at every boundary, and the reasons of quarantine.

Boxes are xyxy pixels with x1, y1 the last pixel inside. Masks are COCO run lengths, compressed.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

RLE: Final = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.string())])

INDEX: Final = pa.schema(
    [
        ("image_id", pa.string()),
        ("payload", pa.string()),  # JSON, read by the source that wrote it
    ]
)
"""What a source lists: one row per image, nothing decoded yet."""

QUARANTINE: Final = pa.schema(
    [
        ("source", pa.string()),
        ("image_id", pa.string()),
        ("mask_id", pa.string()),  # null: the image itself, where it has no masks
        ("stage", pa.string()),  # index, decode or tokenize
        ("reason", pa.string()),  # stable code, counted in summaries
        ("detail", pa.string()),  # one sentence for a person
    ]
)
"""A row that was left out. A rejected image gives one row per mask, or one row if it has none."""

DECODED_MASK: Final = pa.struct([("mask_id", pa.string()), ("category", pa.string()), ("rle", RLE)])

DECODED: Final = pa.schema(
    [
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("source", pa.string()),
        ("pixels", pa.large_binary()),  # uint8 (L, L, 3), RGB, network input size; null if rejected
        ("masks", pa.list_(DECODED_MASK)),
        ("quarantined", pa.list_(pa.struct(list(QUARANTINE)))),
    ]
)
"""An image ready for the tokenizer, with its checked masks and what was left out of them."""

TOKENIZED: Final = pa.schema(
    [
        *(field for field in DECODED if field.name != "pixels"),
        ("codes", pa.list_(pa.list_(pa.int16(), 2))),
        ("reconstruction_iou", pa.list_(pa.float32())),
        ("was_embedded", pa.bool_()),
    ]
)
"""The same without pixels, with codes (and reconstruction IoU where asked for) per mask."""

MASK_WORDS: Final = pa.schema(
    [
        ("image_id", pa.string()),
        ("mask_id", pa.string()),
        ("image_uri", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("category", pa.string()),
        ("source", pa.string()),
        ("rle", RLE),
        ("bbox", pa.list_(pa.float32(), 4)),
        ("area", pa.int64()),
        ("codes", pa.list_(pa.int16(), 2)),
        ("words", pa.string()),
        ("reconstruction_iou", pa.float32()),  # 0..1; null unless asked for
        ("collides", pa.bool_()),  # another mask of this image has the same two words
    ]
)
"""The output: one row per mask."""
