"""Where images come from: every image once, found again by its reference, checked when opened."""

import json

import numpy as np
import pyarrow as pa
import pytest

from pipelines.evaluation.images import IMAGES, CorpusImages, SceneImages
from pipelines.image_decoding import open_row_image
from pipelines.storage import Place
from samtok.errors import ConfigError, InputError
from samtok.masks import decode_rle
from samtok.scenes import generate_scene


def read_all(source, limit=None):
    listing = source.list_blocks(limit)
    found = [row for block in listing.blocks for row in source.read(block)]
    assert len(found) == listing.num_images
    return found


@pytest.fixture
def corpus_images(corpus):
    return CorpusImages(place=Place.at(corpus))


def test_a_corpus_gives_every_row_once_in_order(corpus_images, rows):
    found = read_all(corpus_images)
    assert [row["image_id"] for row in found] == [row["image_id"] for row in rows]
    for row, written in zip(found, rows, strict=True):
        assert {name: row[name] for name in row if name != "reference"} == {
            name: written[name] for name in IMAGES.names if name != "reference"
        }
    pa.Table.from_pylist(found, schema=IMAGES)


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 100])
def test_a_limit_takes_the_first_images(corpus_images, rows, limit):
    found = read_all(corpus_images, limit)
    assert [row["image_id"] for row in found] == [row["image_id"] for row in rows[:limit]]


def test_a_reference_finds_its_image_again(corpus_images):
    for source in (corpus_images, SceneImages(num_images=20, split="val", seed=0)):
        for row in read_all(source):
            assert list(source.read(row["reference"])) == [row]


def test_scenes_come_with_their_pixels_and_masks():
    found = read_all(SceneImages(num_images=18, split="test", seed=1))
    assert len(found) == 18
    for index in (0, 17):
        scene = generate_scene(index, split="test", seed=1)
        row = found[index]
        assert row["image_id"] == scene.scene_id
        assert np.array_equal(open_row_image(row), scene.image)
        assert [mask["category"] for mask in row["masks"]] == [o.category for o in scene.objects]
        for mask, true in zip(row["masks"], scene.masks, strict=True):
            assert np.array_equal(decode_rle(mask["rle"]), true)


def test_an_image_is_read_from_its_address_where_the_row_has_no_bytes(rows, scenes):
    assert rows[3]["image"] is None
    assert np.array_equal(open_row_image(rows[3]), scenes[3].image)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": b""}, "image_unreadable"),
        ({"image": b"GIF89a"}, "image_unreadable"),
        ({"height": 64}, "image_size_mismatch"),
        ({"image": None}, "image_path_unsafe"),
        ({"image": None, "image_uri": None}, "image_path_unsafe"),
        ({"image": None, "image_uri": "/nowhere/a.png"}, "image_missing"),
    ],
)
def test_a_bad_image_says_what_is_wrong(make_row, scenes, changes, reason):
    with pytest.raises(InputError) as caught:
        open_row_image(make_row(scenes[0], **changes))
    assert caught.value.reason == reason


def test_no_corpus_is_refused(tmp_path, make_corpus):
    with pytest.raises(ConfigError, match=r"no corpus/\*\.parquet"):
        CorpusImages(place=Place.at(tmp_path)).list_blocks(None)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "part-000000.parquet").write_bytes(b"not parquet")
    with pytest.raises(ConfigError, match="cannot be read"):
        CorpusImages(place=Place.at(tmp_path)).list_blocks(None)
    Place.at(tmp_path).write_parquet("corpus/part-000000.parquet", pa.table({"image_id": ["a"]}))
    with pytest.raises(ConfigError, match="lacks the columns height, image"):
        CorpusImages(place=Place.at(tmp_path)).list_blocks(None)


def test_an_empty_corpus_is_refused(tmp_path, make_corpus):
    Place.at(tmp_path).write_parquet("corpus/part-000000.parquet", IMAGES.empty_table())
    with pytest.raises(ConfigError, match="holds no image"):
        CorpusImages(place=Place.at(tmp_path)).list_blocks(None)


def test_the_identity_names_what_made_the_corpus(corpus, tmp_path, make_corpus, rows):
    assert CorpusImages(place=Place.at(corpus)).identity()["corpus_identity"] is None
    folder = make_corpus(tmp_path / "made", rows[4:])
    (folder / "_manifest.json").write_text(json.dumps({"identity": {"source": "coco"}}))
    found = CorpusImages(place=Place.at(folder)).identity()
    assert found["corpus_identity"] == {"source": "coco"}
