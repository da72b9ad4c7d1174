"""Listing COCO files: any order, bad entries by name, nothing lost."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from pipelines.corpus.index import iterate_rows
from pipelines.corpus.sources.coco import CocoSource
from pipelines.storage import Place
from samtok.errors import ConfigError

BOX = [[2, 2, 12, 2, 12, 10, 2, 10]]


@pytest.fixture
def list_corpus(tmp_path):
    """Writes a COCO file and lists it; gives the index, its rows and the quarantine."""

    def run(content, limit=None):
        images = tmp_path / "images"
        images.mkdir(exist_ok=True)
        Image.new("RGB", (20, 16)).save(images / "a.png")
        path = tmp_path / "instances.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        source = CocoSource(annotations=str(path), images=str(images), images_per_shard=2)
        source.check()
        output = Place.at(tmp_path / "out")
        index = source.write_index(output, limit=limit)
        rows = {row["image_id"]: row["payload"] for row in iterate_rows(output, index.shards)}
        quarantined = [
            row
            for file in output.list_files("quarantine")
            for row in output.read_parquet(file).to_pylist()
        ]
        return SimpleNamespace(source=source, index=index, rows=rows, quarantined=quarantined)

    return run


def corpus(annotations, images=None):
    default = [{"id": i, "file_name": "a.png", "height": 16, "width": 20} for i in (1, 2, 3)]
    return {
        "annotations": annotations,
        "images": default if images is None else images,
        "categories": [{"id": 5, "name": "cat"}],
    }


def annotation(mask_id, image_id=1, **changes):
    entry = {"id": mask_id, "image_id": image_id, "category_id": 5, "segmentation": BOX}
    return {**entry, **changes}


def test_annotations_are_grouped_whatever_their_order(list_corpus):
    listed = list_corpus(corpus([annotation(30, 3), annotation(10, 1), annotation(31, 3)]))
    assert list(listed.rows) == ["1", "2", "3"]
    assert listed.index.num_images == 3
    assert listed.index.num_masks == 3
    assert len(listed.index.shards) == 2
    decoded = listed.source.decode("3", listed.rows["3"])
    assert [(m.mask_id, m.category) for m in decoded.masks] == [("30", "cat"), ("31", "cat")]
    assert listed.source.decode("2", listed.rows["2"]).masks == []


def test_bad_entries_are_quarantined_by_name(list_corpus):
    listed = list_corpus(
        corpus(
            [
                annotation(1),
                annotation(1, 2),
                annotation(2, 999),
                annotation(3, category_id=12),
                annotation(4, category_id=None),
                annotation(5, category_id=[5]),
                {"image_id": 1},
                "text",
            ],
            images=[
                {"id": 1, "file_name": "a.png", "height": 16, "width": 20},
                {"id": 2, "file_name": "a.png", "height": 16, "width": 20},
                {"id": 2, "file_name": "b.png", "height": 16, "width": 20},
                {"file_name": "a.png"},
                {"id": 4, "file_name": ["a.png"], "height": 16, "width": 20},
            ],
        )
    )
    assert listed.index.quarantined == {
        "duplicate_annotation_id": 1,
        "unknown_image": 1,
        "unknown_category": 3,
        "annotation_malformed": 2,
        "duplicate_image_id": 1,
        "image_entry_malformed": 2,
    }
    assert listed.index.num_quarantined_masks == 7
    assert listed.index.num_masks == 1
    assert len(listed.quarantined) == 10
    assert all(row["detail"] for row in listed.quarantined)


def test_a_cut_file_is_refused_as_a_whole(list_corpus):
    whole = json.dumps(corpus([annotation(1)]))
    with pytest.raises(ConfigError, match=r"instances\.json stops in the middle"):
        list_corpus(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="lists no images"):
        list_corpus({"annotations": []})


def test_numbers_that_json_does_not_know(list_corpus):
    """Python writes NaN into JSON; the row is bad, the file is not."""
    bad = [[2, 2, float("nan"), 2, 12, 10]]
    listed = list_corpus(corpus([annotation(1, segmentation=bad), annotation(2)]))
    decoded = listed.source.decode("1", listed.rows["1"])
    assert [m.mask_id for m in decoded.masks] == ["2"]
    assert [(q.mask_id, q.reason) for q in decoded.quarantined] == [("1", "polygon_not_a_number")]


def test_limit_counts_what_it_lists(list_corpus):
    listed = list_corpus(corpus([annotation(1), annotation(2, 3), annotation(3, 99)]), limit=2)
    assert listed.index.num_images == 2
    assert listed.index.num_masks == 1
    assert listed.index.quarantined == {}
    assert listed.quarantined == []


def test_a_rejected_image_gives_a_row_per_mask_or_one(list_corpus):
    images = [
        {"id": 1, "file_name": "gone.png", "height": 16, "width": 20},
        {"id": 2, "file_name": "gone.png", "height": 16, "width": 20},
        {"id": 3, "file_name": "a.png", "height": 20, "width": 16},
    ]
    listed = list_corpus(corpus([annotation(1), annotation(2), annotation(3, 3)], images))
    decoded = {i: listed.source.decode(i, payload) for i, payload in listed.rows.items()}
    assert [(q.mask_id, q.reason) for q in decoded["1"].quarantined] == [
        ("1", "image_missing"),
        ("2", "image_missing"),
    ]
    assert [(q.mask_id, q.reason) for q in decoded["2"].quarantined] == [(None, "image_missing")]
    assert [q.reason for q in decoded["3"].quarantined] == ["image_size_mismatch"]
    assert all(image.pixels is None for image in decoded.values())
