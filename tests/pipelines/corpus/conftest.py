"""A small COCO corpus made by the tests, and ways to read an output."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from samtok.masks import encode_rle
from samtok.scenes import generate_scene


def write_coco(folder, scenes):
    """Scenes as PNG files and a COCO instances JSON; returns (annotations, images)."""
    images_folder = folder / "images"
    images_folder.mkdir(parents=True)
    images, annotations, categories = [], [], {}
    for number, scene in enumerate(scenes, start=1):
        name = f"{scene.scene_id}.png"
        Image.fromarray(scene.image).save(images_folder / name)
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for item, mask in zip(scene.objects, scene.masks, strict=True):
            category_id = categories.setdefault(item.category, len(categories) + 1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category_id,
                    "segmentation": encode_rle(mask),
                    "iscrowd": 0,
                }
            )
    content = {
        "images": images,
        "annotations": annotations[::-1],  # any order
        "categories": [{"id": i, "name": name} for name, i in categories.items()],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path, images_folder


class Output:
    """Reads what a job wrote."""

    def __init__(self, folder):
        self.folder = folder

    def table(self, name):
        files = sorted((self.folder / name).glob("*.parquet"))
        return pa.concat_tables([pq.read_table(f) for f in files]) if files else None

    def rows(self, name):
        table = self.table(name)
        return [] if table is None else table.to_pylist()

    def words(self):
        """Rows by (image_id, mask_id); fails if any is there twice."""
        rows = self.rows("words")
        by_key = {(row["image_id"], row["mask_id"]): row for row in rows}
        assert len(by_key) == len(rows)
        return by_key

    def codes(self):
        return {key: tuple(row["codes"]) for key, row in self.words().items()}

    def reasons(self):
        return {(r["image_id"], r["mask_id"]): r["reason"] for r in self.rows("quarantine")}

    def manifest(self):
        return json.loads((self.folder / "_manifest.json").read_text())


@pytest.fixture(scope="session")
def read_output():
    return Output


@pytest.fixture(scope="session")
def make_coco():
    return write_coco


@pytest.fixture(scope="session")
def scenes():
    """24 scenes, one of them of another size, at least one empty of objects."""
    chosen = [generate_scene(i, split="val") for i in range(23)]
    assert any(len(s.masks) for s in chosen)
    empty = next(s for i in range(500) if not len((s := generate_scene(i, split="test")).masks))
    return [*chosen, empty]


@pytest.fixture(scope="session")
def coco(tmp_path_factory, scenes):
    return write_coco(tmp_path_factory.mktemp("coco"), scenes)


@pytest.fixture(scope="session")
def num_masks(scenes):
    return int(np.sum([len(s.masks) for s in scenes]))
