"""Reading a Corpus row by row, whatever became of it, without a cluster."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.corpus.commits import Ledger
from pipelines.corpus.index import iterate_rows
from pipelines.corpus.ingest import build_corpus_block, encode_png
from pipelines.corpus.sources.corpus import CorpusSource
from pipelines.image_decoding import open_image
from pipelines.manifest import MANIFEST_FILE
from pipelines.storage import Place
from samtok.errors import ConfigError, InputError
from samtok.masks import encode_rle
from samtok.scenes import generate_scene

PIXELS = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
MASK = np.zeros((6, 8), dtype=bool)
MASK[1:3, 2:5] = True


def corpus_row(image_id, **changes):
    row = {
        "image_id": image_id,
        "image_uri": "/nowhere/a.png",
        "height": 6,
        "width": 8,
        "source": "made",
        "image": encode_png(PIXELS),
        "masks": [{"mask_id": "1", "rle": encode_rle(MASK), "category": "thing", "is_crowd": True}],
        "texts": [{"kind": "caption", "text": "a thing", "mask_ids": ["1"], "spans": []}],
        "num_quarantined_texts": 0,
        "is_rejected": False,
        "quarantined": [],
    }
    return {**row, **changes}


@pytest.fixture
def list_corpus(tmp_path):
    """Writes a Corpus of some rows; gives the source and the payload of each row."""

    def run(*rows, bytes_per_group=1 << 20):
        place = Place.at(tmp_path / "corpus")
        ledger = Ledger(output=place, folder="corpus", bytes_per_group=bytes_per_group)
        commit = ledger.write_block(build_corpus_block(list(rows)))
        manifest = {
            "stage": "ingest_corpus",
            "files": ledger.data_files([commit]),
            "counts": {
                "figures": {"num_images": len(rows), "num_rejected_images": 0, "num_masks": 9}
            },
        }
        place.write_bytes(MANIFEST_FILE, json.dumps(manifest).encode())
        source = CorpusSource(corpus=place.root, images_per_shard=2)
        source.check()
        output = Place.at(tmp_path / "out")
        index = source.write_index(output, limit=None)
        payloads = {row["image_id"]: row["payload"] for row in iterate_rows(output, index.shards)}
        return SimpleNamespace(source=source, index=index, payloads=payloads, place=place)

    return run


def test_rows_come_back(list_corpus):
    listed = list_corpus(*(corpus_row(i) for i in "abcde"), bytes_per_group=600)
    (file,) = listed.place.list_files("corpus")
    assert pq.read_metadata(listed.place.path(file)).num_row_groups > 1
    assert (listed.index.num_images, listed.index.num_masks) == (5, 5)
    for image_id, payload in listed.payloads.items():
        image = listed.source.decode(image_id, payload, with_texts=True)
        assert (image.pixels == PIXELS).all()
        assert (image.source, image.height, image.width) == ("made", 6, 8)
        assert image.masks[0].is_crowd
        assert image.texts == corpus_row("a")["texts"]
        assert listed.source.decode(image_id, payload).texts == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": b"no picture"}, "image_unreadable"),
        ({"height": 7}, "image_size_mismatch"),
        ({"image": None}, "image_missing"),
        ({"image": None, "image_uri": "relative/a.png"}, "image_path_unsafe"),
        ({"image": None, "image_uri": "/a/../../etc/b.png"}, "image_path_unsafe"),
        ({"image": None, "image_uri": None}, "image_path_unsafe"),
        ({"image": None, "image_uri": "scene:val-x"}, "image_missing"),
    ],
)
def test_a_bad_image_is_rejected_with_all_its_masks(list_corpus, changes, reason):
    listed = list_corpus(corpus_row("a", **changes), corpus_row("b"))
    image = listed.source.decode("a", listed.payloads["a"])
    assert image.is_rejected
    assert [(row.mask_id, row.reason) for row in image.quarantined] == [("1", reason)]
    assert not listed.source.decode("b", listed.payloads["b"]).is_rejected


def test_masks_are_checked_again(list_corpus):
    rles = {
        "2": {"size": [6, 8], "counts": "00"},
        "3": encode_rle(MASK.T),
        "4": encode_rle(np.zeros_like(MASK)),
    }
    masks = [
        {"mask_id": i, "rle": rle, "category": "", "is_crowd": False} for i, rle in rles.items()
    ]
    listed = list_corpus(corpus_row("a", masks=[*corpus_row("a")["masks"], *masks]))
    image = listed.source.decode("a", listed.payloads["a"])
    assert [mask.mask_id for mask in image.masks] == ["1"]
    assert {row.mask_id: row.reason for row in image.quarantined} == {
        "2": "rle_counts_sum",
        "3": "rle_size_mismatch",
        "4": "mask_empty",
    }


def test_a_file_that_is_damaged_later_loses_no_row(list_corpus):
    listed = list_corpus(corpus_row("a"))
    (file,) = listed.place.list_files("corpus")
    listed.place.write_bytes(file, b"PAR1 no longer")
    image = listed.source.decode("a", listed.payloads["a"])
    assert [(row.mask_id, row.reason) for row in image.quarantined] == [("1", "row_unreadable")]
    with pytest.raises(ConfigError, match="cannot be read"):
        listed.source.write_index(listed.place, limit=None)


def test_images_are_opened_by_their_uri(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    pixels, content = open_image(str(tmp_path / "a.png"), (6, 8))
    assert (pixels == PIXELS).all()
    assert content == (tmp_path / "a.png").read_bytes()
    scene = generate_scene(3, split="val", seed=5)
    drawn, content = open_image(f"scene:{scene.scene_id}", None)
    assert (drawn == scene.image).all()
    assert content is None
    with pytest.raises(InputError, match="image_missing"):
        open_image(str(tmp_path / "b.png"), None)


def test_texts_of_masks_that_are_gone_are_put_aside(list_corpus, tmp_path):
    import pyarrow as pa

    from pipelines.corpus.ingest import IngestStage
    from pipelines.corpus.stages import SHARDS

    dangling = {"kind": "caption", "text": "two", "mask_ids": ["1", "9"], "spans": []}
    texts = [*corpus_row("a")["texts"], dangling]
    listed = list_corpus(corpus_row("a", texts=texts))
    output = Place.at(tmp_path / "out")
    ledger = Ledger(output=output, folder="corpus")
    shards = pa.Table.from_pylist([{"shard": listed.index.shards[0], "done": []}], schema=SHARDS)
    list(IngestStage(listed.source, ledger, "auto")(shards))
    (commit,) = ledger.read_commits()
    assert commit.figures.num_texts == 1
    assert commit.figures.quarantined == {"text_mask_missing": 1}
    assert commit.figures.num_quarantined_masks == 0
    (file,) = output.list_files("corpus")
    (row,) = output.read_parquet(file).to_pylist()
    assert row["image"] == corpus_row("a")["image"]
