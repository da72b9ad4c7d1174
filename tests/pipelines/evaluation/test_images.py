"""Where images come from: every image once, found again by its reference, checked when opened."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from pipelines.corpus_reader import open_corpus
from pipelines.evaluation.images import IMAGES, CorpusImages, SceneImages
from pipelines.image_decoding import open_row_image
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
    return CorpusImages(files=open_corpus(str(corpus)))


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


def test_files_that_the_manifest_does_not_name_are_not_read(tmp_path, make_corpus, rows):
    folder = make_corpus(tmp_path / "made", rows[4:5])
    left_behind = make_corpus(tmp_path / "killed", rows[5:]) / "corpus" / "part-000000.parquet"
    left_behind.rename(folder / "corpus" / "part-000001.parquet")
    found = read_all(CorpusImages(files=open_corpus(str(folder))))
    assert [row["image_id"] for row in found] == [rows[4]["image_id"]]


def test_files_that_cannot_be_read_are_refused(tmp_path, make_corpus, rows):
    folder = make_corpus(tmp_path / "made", rows[4:])
    source = CorpusImages(files=open_corpus(str(folder)))
    (folder / "corpus" / "part-000000.parquet").write_bytes(b"not parquet")
    with pytest.raises(ConfigError, match=r"part-000000\.parquet cannot be read"):
        source.list_blocks(None)


def test_the_identity_names_what_made_the_corpus(corpus, corpus_images):
    content = (corpus / "_manifest.json").read_bytes()
    assert corpus_images.identity() == {
        "source": "corpus",
        "corpus": str(corpus),
        "corpus_manifest_sha256": hashlib.sha256(content).hexdigest(),
    }
