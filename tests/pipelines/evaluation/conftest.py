"""A small Corpus as the schema has it, written by the tests, with good and bad masks."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from samtok.masks import encode_rle
from samtok.scenes import generate_scene

RLE = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.string())])
MASK = pa.struct(
    [("mask_id", pa.string()), ("rle", RLE), ("category", pa.string()), ("is_crowd", pa.bool_())]
)
CORPUS = pa.schema(
    [
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("image", pa.binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("source", pa.string()),
        ("masks", pa.list_(MASK)),
        ("texts", pa.list_(pa.string())),  # of no interest here
    ]
)


def encode_png(image):
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, format="PNG")
    return encoded.getvalue()


def row_of(scene, **changes):
    height, width = scene.image.shape[:2]
    masks = [
        {
            "mask_id": item.mask_id,
            "rle": encode_rle(mask),
            "category": item.category,
            "is_crowd": False,
        }
        for item, mask in zip(scene.objects, scene.masks, strict=True)
    ]
    row = {
        "image_id": scene.scene_id,
        "image_uri": f"nowhere/{scene.scene_id}.png",
        "image": encode_png(scene.image),
        "height": height,
        "width": width,
        "source": "test",
        "masks": masks,
        "texts": [],
    }
    return {**row, **changes}


def write_corpus(folder, rows, *, rows_per_file=4, row_group_size=3):
    (folder / "corpus").mkdir(parents=True)
    files = []
    for number, start in enumerate(range(0, len(rows), rows_per_file)):
        table = pa.Table.from_pylist(rows[start : start + rows_per_file], schema=CORPUS)
        files.append(f"corpus/part-{number:06d}.parquet")
        pq.write_table(table, folder / files[-1], row_group_size=row_group_size)
    figures = {
        "num_images": len(rows),
        "num_rejected_images": 0,
        "num_masks": sum(len(row["masks"]) for row in rows),
    }
    manifest = {"stage": "ingest_corpus", "files": files, "counts": {"figures": figures}}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def scenes():
    """Six scenes, each with three masks or more."""
    found = (generate_scene(i, split="val") for i in range(100))
    return [scene for scene in found if len(scene.masks) >= 3][:6]


@pytest.fixture(scope="session")
def rows(scenes, tmp_path_factory):
    """A row of each scene, and what is wrong with them:

    0: its first mask's counts do not add up, its second is a crowd;
    1: its first mask is empty, its second has another size;
    2: the bytes are no image, so none of its masks can be measured;
    3: carries no bytes, its image is read from its address;
    4, 5: nothing.
    """
    built = [row_of(scene) for scene in scenes]
    built[0]["masks"][0]["rle"]["counts"] += "1"
    built[0]["masks"][1]["is_crowd"] = True
    built[1]["masks"][0]["rle"] = encode_rle(np.zeros((128, 128), dtype=bool))
    built[1]["masks"][1]["rle"] = encode_rle(np.ones((64, 128), dtype=bool))
    built[2]["image"] = b"no image"
    path = tmp_path_factory.mktemp("images") / "apart.png"
    path.write_bytes(built[3]["image"])
    built[3].update(image=None, image_uri=str(path))
    return built


@pytest.fixture(scope="session")
def corpus(rows, tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), rows)


@pytest.fixture(scope="session")
def good_masks(scenes):
    """Image, masks and categories that can be measured, in the order of the rows."""
    kept = {0: slice(2, None), 1: slice(2, None), 2: slice(0)}
    return [
        (s.image, s.masks[kept.get(n, slice(None))], s.objects[kept.get(n, slice(None))])
        for n, s in enumerate(scenes)
    ]


@pytest.fixture(scope="session")
def make_corpus():
    return write_corpus


@pytest.fixture(scope="session")
def make_row():
    return row_of
