"""Masks in and out: polygons, run lengths, bitmaps and label maps ↔ bool arrays, checked.

Bottom of the library. Every reader of a corpus and every caller of the tokenizer brings its masks
through here. Nothing reaches pycocotools unchecked, because it trusts its input with its life;
what cannot be read raises `InputError` with a stable reason, so that one row can be put aside.

- `rle` run-length codes, the only file that imports pycocotools
- `polygons` checking and clipping of COCO polygons
- `segmentation` any COCO ``segmentation`` field → mask or RLE
- `outlines` mask → COCO polygons that rasterise back to the same mask
- `bitmaps` arrays and label maps ↔ masks
- `measures` boxes and areas

Boxes are xyxy in pixels, and x1, y1 are the last pixel *inside* (as torchvision's
``masks_to_boxes``, unlike COCO's width and height), everywhere in this project.
"""

from samtok.masks.bitmaps import (
    as_mask_array,
    bitmap_to_mask,
    label_map_to_masks,
    masks_to_label_map,
)
from samtok.masks.measures import compute_areas, compute_boxes
from samtok.masks.outlines import mask_to_polygons, trace_rings
from samtok.masks.rle import (
    MAX_PIXELS,
    Rle,
    check_image_size,
    decode_rle,
    decode_rles,
    encode_rle,
    rle_area,
    rle_box,
)
from samtok.masks.segmentation import decode_segmentation, segmentation_to_rle

__all__ = [
    "MAX_PIXELS",
    "Rle",
    "as_mask_array",
    "bitmap_to_mask",
    "check_image_size",
    "compute_areas",
    "compute_boxes",
    "decode_rle",
    "decode_rles",
    "decode_segmentation",
    "encode_rle",
    "label_map_to_masks",
    "mask_to_polygons",
    "masks_to_label_map",
    "rle_area",
    "rle_box",
    "segmentation_to_rle",
    "trace_rings",
]
