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
        ("stage", pa.string()),  # index, decode, ingest, embed, tokenize or dialogues
        ("reason", pa.string()),  # stable code, counted in summaries
        ("detail", pa.string()),  # one sentence for a person
    ]
)
"""A row that was left out. A rejected image gives one row per mask, or one row if it has none."""

MASK: Final = pa.struct(
    [("mask_id", pa.string()), ("rle", RLE), ("category", pa.string()), ("is_crowd", pa.bool_())]
)
"""A checked mask of an image."""

SPAN: Final = pa.struct(
    [
        ("start", pa.int32()),  # characters, from 0
        ("end", pa.int32()),  # after the last one
        ("mask_ids", pa.list_(pa.string())),
        ("role", pa.string()),
    ]
)
"""Some characters of a text and the masks they speak of; roles: `samtok.scenes.grounded_text`."""

TEXT: Final = pa.struct(
    [
        ("kind", pa.string()),
        ("text", pa.string()),
        ("mask_ids", pa.list_(pa.string())),
        ("spans", pa.list_(SPAN)),
    ]
)
"""Something said about an image; kinds: `samtok.scenes.grounded_text`."""

_IMAGE: Final = [
    ("image_id", pa.string()),
    ("image_uri", pa.string()),  # absolute path, s3://… or scene:…
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("source", pa.string()),
]

CORPUS: Final = pa.schema(
    [
        *_IMAGE,
        ("image", pa.large_binary()),  # the encoded file; null where it is to be read from its uri
        ("masks", pa.list_(MASK)),
        ("texts", pa.list_(TEXT)),
    ]
)
"""The output of ingestion: one row per image."""

EMBEDDING_MAPS: Final = ("embedding_image", "embedding_fine", "embedding_middle")
"""Columns of the three maps: float16, C order, shapes in the manifest (`TokenizerConfig`'s)."""

_MAPS: Final = [(name, pa.large_binary()) for name in EMBEDDING_MAPS]

EMBEDDINGS: Final = pa.schema([*_IMAGE, *_MAPS, ("masks", pa.list_(MASK))])
"""The output of embedding: one row per image; maps are null where there are no masks."""

_LEFT_OUT: Final = [
    ("is_rejected", pa.bool_()),  # the image itself is left out
    ("quarantined", pa.list_(pa.struct(list(QUARANTINE)))),
]

EMBEDDED: Final = pa.schema([*EMBEDDINGS, *_LEFT_OUT])
"""An image with its embedding, before what was left out is written elsewhere."""

DECODED: Final = pa.schema(
    [
        *EMBEDDED,  # maps are null unless the source is embeddings
        ("pixels", pa.large_binary()),  # uint8 (L, L, 3), RGB, network input size
    ]
)
"""An image ready for the tokenizer, with its checked masks and what was left out of them.

Pixels and maps are null where the image is rejected or has no masks.
"""

TOKENIZED: Final = pa.schema(
    [
        *(field for field in EMBEDDED if field.name not in EMBEDDING_MAPS),
        ("codes", pa.list_(pa.list_(pa.int16(), 2))),
        ("reconstruction_iou", pa.list_(pa.float32())),
        ("was_embedded", pa.bool_()),
    ]
)
"""The same without pixels and maps, with codes (and reconstruction IoU where asked for) per mask.
"""

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

MESSAGE: Final = pa.struct([("role", pa.string()), ("content", pa.string())])
"""A turn of a conversation: user or assistant, and plain text with mask words inside."""

CONVERSATIONS: Final = pa.schema(
    [
        ("conversation_id", pa.string()),
        ("task", pa.string()),  # one of samtok.tasks.TASK_NAMES
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("image", pa.large_binary()),  # the encoded file; null where it is to be read from its uri
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("messages", pa.list_(MESSAGE)),  # the image stands before the first user message
        ("target_words", pa.list_(pa.string())),  # mask spans of the last answer, in order
        ("mask_ids", pa.list_(pa.string())),  # what they stand for
        ("source", pa.string()),
    ]
)
"""The output of dialogue building: one row per conversation, those of an image side by side."""
