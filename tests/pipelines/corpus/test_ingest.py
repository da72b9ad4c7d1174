"""Ingestion on a real cluster: a row per image, equal to what an independent reader says."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image
from pycocotools.coco import COCO

from pipelines import columns
from pipelines.corpus.ingest import IngestConfig, plan_ingestion, run_ingestion
from pipelines.corpus.tokenize import TokenizeConfig, run_tokenization
from pipelines.corpus_reader import open_corpus, open_embeddings
from pipelines.manifest import MANIFEST_FILE
from samtok.errors import CheckpointError, ConfigError
from samtok.masks import decode_rle
from samtok.scenes import describe_scene, generate_scene

pytestmark = pytest.mark.ray

CUT, GONE, CROWD, BAD_MASK = 2, 3, 5, 7  # ids of images, of which the last two have masks


@pytest.fixture(scope="module")
def broken_coco(tmp_path_factory, make_coco, scenes):
    """A COCO corpus with a crowd, two images that cannot be opened and a mask that cannot be."""
    path, images = make_coco(tmp_path_factory.mktemp("broken_coco"), scenes)
    content = json.loads(path.read_text())
    files = {image["id"]: images / image["file_name"] for image in content["images"]}
    files[CUT].write_bytes(files[CUT].read_bytes()[:200])
    files[GONE].unlink()
    first = {a["image_id"]: a for a in content["annotations"]}
    first[CROWD]["iscrowd"] = 1
    first[BAD_MASK]["segmentation"] = {"size": [128, 128], "counts": [7]}
    path.write_text(json.dumps(content))
    bad = [a["id"] for a in content["annotations"] if a["image_id"] in (CUT, GONE)]
    return path, images, {str(i) for i in [*bad, first[BAD_MASK]["id"]]}


@pytest.fixture(scope="module")
def config_for(ray_cluster, broken_coco):
    path, images, _ = broken_coco

    def build(output, **changes):
        settings = {
            "source": "coco",
            "annotations": str(path),
            "images": str(images),
            "output": str(output),
            "images_per_block": 5,
        }
        return IngestConfig(**{**settings, **changes})

    return build


@pytest.fixture(scope="module")
def ingested(config_for, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingested")
    return folder, run_ingestion(config_for(folder))


@pytest.fixture(scope="module")
def ingested_scenes(ray_cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    config = IngestConfig(
        source="scenes",
        num_images=12,
        split="val",
        seed=4,
        output=str(folder),
        images_per_block=5,
        num_workers=2,
    )
    return folder, run_ingestion(config)


def test_rows_are_what_pycocotools_reads(ingested, read_output, broken_coco):
    folder, _ = ingested
    path, images, bad = broken_coco
    coco = COCO(path)
    table = read_output(folder).table("corpus")
    assert table.schema.equals(columns.CORPUS)
    rows = {row["image_id"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows
    assert set(rows) == {str(i) for i in coco.getImgIds() if i not in (CUT, GONE)}
    for image_id, row in rows.items():
        (entry,) = coco.loadImgs(int(image_id))
        assert row["image_uri"] == str(images / entry["file_name"])
        assert (row["height"], row["width"]) == (entry["height"], entry["width"])
        assert row["source"] == "coco"
        assert row["image"] is None
        assert row["texts"] == []
        annotations = coco.loadAnns(coco.getAnnIds(int(image_id)))
        expected = {str(a["id"]): a for a in annotations if str(a["id"]) not in bad}
        assert {mask["mask_id"] for mask in row["masks"]} == set(expected)
        for mask in row["masks"]:
            annotation = expected[mask["mask_id"]]
            assert (decode_rle(mask["rle"]) == coco.annToMask(annotation)).all()
            assert mask["category"] == coco.loadCats(annotation["category_id"])[0]["name"]
            assert mask["is_crowd"] == bool(annotation["iscrowd"])
    assert any(mask["is_crowd"] for row in rows.values() for mask in row["masks"])
    assert any(row["masks"] == [] for row in rows.values())


def test_what_is_broken_is_quarantined_and_counted(ingested, read_output, broken_coco, num_masks):
    folder, summary = ingested
    reasons = read_output(folder).reasons()
    assert {mask_id for _, mask_id in reasons} == broken_coco[2]
    by_image = {(image_id, reason) for (image_id, _), reason in reasons.items()}
    assert by_image == {
        (str(CUT), "image_unreadable"),
        (str(GONE), "image_missing"),
        (str(BAD_MASK), "rle_counts_sum"),
    }
    assert summary.is_accounted
    assert summary.num_masks_listed == num_masks
    assert summary.figures.num_rejected_images == 2
    assert summary.num_images_out == 22


def test_scenes_bring_their_pictures_and_their_texts(ingested_scenes, read_output):
    folder, summary = ingested_scenes
    rows = {row["image_id"]: row for row in read_output(folder).rows("corpus")}
    assert len(rows) == summary.num_images_out == 12
    for index in range(12):
        scene = generate_scene(index, split="val", seed=4)
        row = rows[scene.scene_id]
        assert (np.asarray(Image.open(io.BytesIO(row["image"]))) == scene.image).all()
        assert [mask["mask_id"] for mask in row["masks"]] == [o.mask_id for o in scene.objects]
        for mask, drawn in zip(row["masks"], scene.masks, strict=True):
            assert (decode_rle(mask["rle"]) == drawn).all()
        texts = json.loads(
            json.dumps([dataclasses.asdict(t) for t in describe_scene(scene, seed=4)])
        )
        assert row["texts"] == texts
    assert summary.figures.num_texts == sum(len(row["texts"]) for row in rows.values()) > 50


def test_texts_go_where_their_masks_and_images_go(config_for, broken_coco, read_output, tmp_path):
    path, _, bad = broken_coco
    content = json.loads(path.read_text())
    by_image = {a["image_id"]: str(a["id"]) for a in content["annotations"]}
    bad_mask = next(
        str(a["id"])
        for a in content["annotations"]
        if a["image_id"] == BAD_MASK and str(a["id"]) in bad
    )

    def ref(image_id, sent, *mask_ids):
        ids = [int(mask_id) for mask_id in mask_ids] or [-1]
        return {"image_id": image_id, "ann_id": ids, "sentences": [{"sent": sent}]}

    refs = [
        ref(CROWD, "the crowd", by_image[CROWD]),
        ref(CROWD, "no dog"),
        ref(CUT, "nothing"),
        ref(BAD_MASK, "the bad one", bad_mask),
        ref(999, "elsewhere"),
    ]
    (tmp_path / "refs.json").write_text(json.dumps(refs))
    summary = run_ingestion(config_for(tmp_path / "out", refs=str(tmp_path / "refs.json")))
    assert summary.is_accounted
    assert summary.num_texts_listed == 4
    assert (summary.figures.num_texts, summary.figures.num_quarantined_texts) == (2, 2)
    rows = {row["image_id"]: row for row in read_output(tmp_path / "out").rows("corpus")}
    texts = [(text["text"], text["mask_ids"]) for text in rows[str(CROWD)]["texts"]]
    assert texts == [("the crowd", [by_image[CROWD]]), ("no dog", [])]
    quarantine = read_output(tmp_path / "out").rows("quarantine")
    assert {(r["image_id"], r["reason"]) for r in quarantine if r["mask_id"] is None} == {
        (str(CUT), "text_image_rejected"),
        (str(BAD_MASK), "text_mask_missing"),
        ("999", "unknown_image"),
    }


def test_language_needs_a_source_that_takes_it(tmp_path):
    settings = {"source": "scenes", "output": str(tmp_path)}
    with pytest.raises(ConfigError, match="--refs needs --source coco, not scenes"):
        IngestConfig(**settings, refs="refs.json")
    with pytest.raises(ConfigError, match="--refs-split needs --refs"):
        IngestConfig(**settings, refs_split="val")


def test_a_reader_finds_the_files_that_count(ingested, ingested_scenes):
    folder, summary = ingested
    stray = folder / "corpus" / "of-a-killed-run.parquet"
    stray.write_bytes(b"half")
    files = open_corpus(str(folder))
    stray.unlink()
    assert len(files.files) == len(list((folder / "corpus").iterdir()))
    dataset = ray.data.read_parquet(files.paths, filesystem=files.filesystem)
    assert dataset.count() == files.num_images == summary.num_images_out
    assert files.num_masks == summary.figures.num_masks
    assert files.read_schema().equals(columns.CORPUS)
    assert files.digest != open_corpus(str(ingested_scenes[0])).digest


def test_readers_say_what_to_do(ingested, tmp_path):
    with pytest.raises(ConfigError, match=r"nothing to read at .*make it with jobs/ingest_corpus"):
        open_corpus(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"written by jobs/ingest_corpus.py, but .*embed_corpus"):
        open_embeddings(str(ingested[0]))
    (tmp_path / "_run.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"unfinished.*same command"):
        open_corpus(str(tmp_path))
    manifest = json.loads((ingested[0] / MANIFEST_FILE).read_text())
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"files of .* are gone"):
        open_corpus(str(tmp_path))
    manifest["files"] = []
    manifest["counts"]["figures"]["num_masks"] = 0
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"holds no masks"):
        open_corpus(str(tmp_path))
    assert open_corpus(str(tmp_path), needs_masks=False).files == []
    (tmp_path / MANIFEST_FILE).write_text("[1]")
    with pytest.raises(ConfigError, match="damaged"):
        open_corpus(str(tmp_path))


def test_the_corpus_gives_the_words_of_its_source(
    ingested, config_for, small_tokenizer_folder, read_output, tmp_path
):
    """Images opened by their uri; one that has gone since is quarantined."""
    settings = {
        "tokenizer": str(small_tokenizer_folder),
        "num_actors": 1,
        "preview_images": 0,
        "images_per_block": 8,
    }
    folder, _ = ingested
    source = config_for(tmp_path / "direct")
    direct = TokenizeConfig(
        source="coco",
        annotations=source.annotations,
        images=source.images,
        output=source.output,
        **settings,
    )
    run_tokenization(direct)
    rows = read_output(folder).rows("corpus")
    victim = next(row for row in rows if row["masks"])
    picture = Path(victim["image_uri"])
    content = picture.read_bytes()
    try:
        picture.write_bytes(b"")
        summary = run_tokenization(
            TokenizeConfig(
                source="corpus", corpus=str(folder), output=str(tmp_path / "words"), **settings
            )
        )
    finally:
        picture.write_bytes(content)
    assert summary.is_accounted
    expected = read_output(tmp_path / "direct").words()
    lost = {(victim["image_id"], mask["mask_id"]) for mask in victim["masks"]}
    assert lost <= set(expected)
    words = read_output(tmp_path / "words")
    assert words.words() == {key: row for key, row in expected.items() if key not in lost}
    assert words.reasons() == dict.fromkeys(lost, "image_unreadable")


def test_a_finished_corpus_is_left_alone_and_others_do_not_mix_in(config_for, ingested):
    folder, first = ingested
    before = (folder / MANIFEST_FILE).read_bytes()
    again = run_ingestion(config_for(folder))
    assert again.images_done_now == 0
    assert again.figures == first.figures
    assert (folder / MANIFEST_FILE).read_bytes() == before
    with pytest.raises(CheckpointError, match=r"carry_images: 'auto' then, 'yes' now"):
        run_ingestion(config_for(folder, carry_images="yes"))


def test_carried_files_limit_and_plan(config_for, read_output, tmp_path):
    config = config_for(tmp_path / "out", carry_images="yes", limit=4)
    assert plan_ingestion(config)["images"] == 4
    assert not (tmp_path / "out").exists()
    summary = run_ingestion(config)
    assert summary.figures.num_images == 4
    for row in read_output(tmp_path / "out").rows("corpus"):
        assert row["image"] == Path(row["image_uri"]).read_bytes()
