"""Annotation files that no exporter should write: refused or quarantined, never a crash."""

import inspect
import json
import os
import sys

import pyarrow as pa
import pytest
from PIL import Image

from pipelines.corpus.sources.coco import CocoSource
from pipelines.corpus.stages import SHARDS, DecodeStage
from pipelines.storage import Place
from samtok.errors import ConfigError

BOX = [[1, 1, 8, 1, 8, 8, 1, 8]]
NESTING = 20_000


@pytest.fixture
def read_corpus(tmp_path):
    """Lists and decodes a COCO file; gives rows, reasons, and rows in that must equal them."""

    def run(text, limit=None):
        images = tmp_path / "images"
        images.mkdir()
        Image.new("RGB", (10, 10)).save(images / "a.png")
        os.symlink("loop.png", images / "loop.png")
        path = tmp_path / "instances.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        source, output = CocoSource(annotations=str(path), images=str(images)), Place.at(tmp_path)
        index = source.write_index(output, limit=limit)
        stage = DecodeStage(source, output, 16)
        shards = [{"shard": name, "done": []} for name in index.shards]
        tables = list(stage(pa.Table.from_pylist(shards, schema=SHARDS)))
        rows = [row for table in tables for row in table.to_pylist()]
        masks = [mask["mask_id"] for row in rows for mask in row["masks"]]
        late = [entry for row in rows for entry in row["quarantined"]]
        reasons = [*index.quarantined, *(entry["reason"] for entry in late)]
        assert index.num_masks == len(masks) + sum(e["mask_id"] is not None for e in late)
        return masks, reasons

    return run


def corpus_text(image=None, annotation=None, category=None):
    """A corpus of one good image and mask, with fields replaced."""
    good = {
        "images": {"id": 1, "file_name": "a.png", "height": 10, "width": 10},
        "annotations": {"id": 1, "image_id": 1, "category_id": 1, "segmentation": BOX},
        "categories": {"id": 1, "name": "cat"},
    }
    changes = {"images": image, "annotations": annotation, "categories": category}
    return json.dumps({key: [{**good[key], **(changes[key] or {})}] for key in good})


@pytest.mark.parametrize(
    ("changes", "masks", "reasons"),
    [
        ({}, ["1"], []),
        ({"annotation": {"image_id": 1.0}}, ["1"], []),
        ({"category": {"name": "\ud800"}}, ["1"], []),
        ({"annotation": {"id": "\ud800"}}, None, []),
        ({"image": {"file_name": "caf\udce9.png"}}, [], ["image_path_unsafe"]),
        ({"image": {"file_name": None}}, [], ["image_path_unsafe"]),
        ({"image": {"file_name": 5}}, [], ["image_entry_malformed", "unknown_image"]),
        ({"image": {"file_name": "loop.png"}}, [], ["image_path_unsafe"]),
        ({"image": {"file_name": "a" * 5000}}, [], ["image_unreadable"]),
        ({"image": {"height": 10**30}}, [], ["image_entry_malformed", "unknown_image"]),
        ({"image": {"height": float("inf")}}, [], ["image_size_malformed"]),
        ({"annotation": {"segmentation": [[float("nan")] * 6]}}, [], ["polygon_not_a_number"]),
        ({"annotation": {"id": [1]}}, [], ["annotation_malformed"]),
        ({"annotation": {"category_id": [1]}}, [], ["unknown_category"]),
        ({"category": {"id": {}}}, [], ["unknown_category"]),
    ],
)
def test_odd_values_are_read_or_quarantined(read_corpus, changes, masks, reasons):
    found, why = read_corpus(corpus_text(**changes))
    assert len(found) == 1 if masks is None else found == masks
    assert sorted(why) == reasons


def test_deep_nesting_is_quarantined(read_corpus):
    text = corpus_text().replace(json.dumps(BOX), "[" * NESTING + "]" * NESTING)
    assert read_corpus(text) == ([], ["segmentation_malformed"])


def test_deep_nesting_that_only_the_worker_cannot_read(read_corpus, monkeypatch):
    """A stack that is fuller in the worker than in the driver."""
    depth = 150
    text = corpus_text().replace(json.dumps(BOX), "[" * depth + "]" * depth)
    decode = CocoSource.decode

    def decode_on_a_full_stack(self, image_id, payload, frames=None):
        frames = len(inspect.stack(0)) if frames is None else frames
        if frames < sys.getrecursionlimit() - 100:
            return decode_on_a_full_stack(self, image_id, payload, frames + 1)
        return decode(self, image_id, payload)

    monkeypatch.setattr(CocoSource, "decode", decode_on_a_full_stack)
    assert read_corpus(text) == ([], ["segmentation_malformed"])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[1]",
        corpus_text()[:-20],
        corpus_text() + "x",
        corpus_text(category={"name": "caf\xe9"}).encode().replace(rb"\u00e9", b"\xe9"),
        corpus_text(image={"height": float("nan")}).replace("[[", "[" * NESTING),
    ],
    ids=["empty", "null", "list", "cut", "trailing", "not utf-8", "deep and not JSON"],
)
def test_files_that_are_not_coco_are_refused(read_corpus, text):
    with pytest.raises(ConfigError, match=r"instances\.json"):
        read_corpus(text)


def test_lists_that_are_none(read_corpus):
    """Also where the strict parser has given up because of the NaN."""
    text = json.dumps({**json.loads(corpus_text()), "annotations": 5, "note": float("nan")})
    assert read_corpus(text) == ([], [])


def test_limit_keeps_what_was_rejected_of_the_listed_images(read_corpus):
    content = json.loads(corpus_text())
    content["images"] += [{**content["images"][0], "id": 2}]
    content["annotations"] += [
        {**content["annotations"][0], "category_id": 7, "id": 2},
        {**content["annotations"][0], "category_id": 7, "id": 3, "image_id": 2},
    ]
    assert read_corpus(json.dumps(content), limit=1) == (["1"], ["unknown_category"])
