"""Embeddings on a real cluster: what the library gives, kept; and tokenization from them."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipelines import columns
from pipelines.corpus.embed import EmbedConfig, plan_embedding, run_embedding
from pipelines.corpus.embed_stage import load_maps, store_maps
from pipelines.corpus.ingest import IngestConfig, run_ingestion
from pipelines.corpus.tokenize import TokenizeConfig, run_tokenization
from pipelines.corpus_reader import open_embeddings, read_maps
from pipelines.storage import Place
from samtok import SAMTok
from samtok.errors import CheckpointError, ConfigError, InputError
from samtok.scenes import generate_scene

pytestmark = pytest.mark.ray

NUM_IMAGES = 100
BYTES_PER_IMAGE = 196_608  # 2 x (96 x 16 x 16 + 12 x 64 x 64 + 24 x 32 x 32)


@pytest.fixture(scope="module")
def tiny():
    return SAMTok.from_pretrained("tiny", device="cpu")


@pytest.fixture(scope="module")
def corpus(ray_cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    run_ingestion(
        IngestConfig(source="scenes", num_images=NUM_IMAGES, split="val", output=str(folder))
    )
    return folder


@pytest.fixture(scope="module")
def embedded(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded")
    config = EmbedConfig(source="corpus", corpus=str(corpus), output=str(folder), num_actors=1)
    return config, run_embedding(config)


@pytest.fixture(scope="module")
def rows(embedded):
    files = open_embeddings(embedded[0].output)
    return files, pa.concat_tables([pq.read_table(path) for path in files.paths])


def tokenize(output, **changes):
    settings = {"source": "corpus", "output": str(output), "num_actors": 1, "preview_images": 0}
    return run_tokenization(TokenizeConfig(**{**settings, **changes}))


def test_a_row_per_image_with_what_embed_gives(rows, tiny):
    files, table = rows
    assert table.schema.equals(columns.EMBEDDINGS)
    assert files.read_schema().equals(columns.EMBEDDINGS)
    ids = table["image_id"].to_pylist()
    assert len(set(ids)) == len(ids) == files.num_images == NUM_IMAGES
    for position in range(0, NUM_IMAGES, 9):
        scene = generate_scene(int(ids[position][-8:]), split="val")
        row = table.slice(position, 1)
        masks = row["masks"].to_pylist()[0]
        assert [mask["mask_id"] for mask in masks] == [o.mask_id for o in scene.objects]
        if not masks:
            continue
        expected = tiny.embed(scene.image)
        for name, shape in files.shapes.items():
            (stored,) = read_maps(row[name], shape)
            exact = getattr(expected, name.removeprefix("embedding_"))[0].numpy()
            # float16 keeps 11 bits; sums taken by another number of threads differ in the last.
            np.testing.assert_allclose(stored, exact, rtol=2**-11 + 1e-6, atol=1e-6)


def test_images_without_masks_cost_nothing(rows, embedded):
    _, table = rows
    _, summary = embedded
    empty = [not masks for masks in table["masks"].to_pylist()]
    assert any(empty)
    for name in columns.EMBEDDING_MAPS:
        assert table[name].is_null().to_pylist() == empty
    assert summary.images_embedded_now == NUM_IMAGES - sum(empty)
    assert summary.figures.num_bytes == summary.images_embedded_now * BYTES_PER_IMAGE
    assert summary.is_accounted


def test_maps_are_read_without_a_copy(rows):
    files, table = rows
    shape = files.shapes["embedding_fine"]
    column = table["embedding_fine"].combine_chunks()
    maps = read_maps(column, shape)
    assert maps.shape == (len(column) - column.null_count, *shape)
    assert not maps.flags.writeable
    whole = np.frombuffer(column.buffers()[2], np.uint8)
    assert np.shares_memory(maps, whole)
    # A slice with a null in it, and nothing at all.
    first_null = column.is_null().to_pylist().index(True)
    start = max(0, first_null - 2)
    part = column.slice(start, 5)
    before = start - column.slice(0, start).null_count
    count = 5 - part.null_count
    assert (read_maps(part, shape) == maps[before : before + count]).all()
    assert len(read_maps(column.slice(0, 0), shape)) == 0
    assert len(read_maps(pa.chunked_array([], pa.large_binary()), shape)) == 0
    with pytest.raises(ValueError, match="reshape"):
        read_maps(column, (7, 11, 13))


def test_the_manifest_says_what_readers_need(rows, tiny):
    files, _ = rows
    assert files.backbone_fingerprint == tiny.backbone_fingerprint
    manifest = files.manifest
    assert manifest["image_size"] == 256
    assert manifest["bytes_per_image"] == BYTES_PER_IMAGE
    assert manifest["shapes"]["embedding_middle"] == [24, 32, 32]
    assert "corpus_manifest_sha256" in manifest["identity"]


def test_codes_from_embeddings_differ_by_rounding_only(
    embedded, corpus, read_output, tmp_path, monkeypatch
):
    """And no backbone runs, neither in the actors nor for the picture."""
    direct = tokenize(tmp_path / "direct", corpus=str(corpus))
    assert direct.images_embedded_now == embedded[1].images_embedded_now
    monkeypatch.setattr(SAMTok, "embed", None)
    cached = tokenize(
        tmp_path / "cached", embeddings=embedded[0].output, reconstruct=True, preview_images=2
    )
    assert cached.images_embedded_now == cached.figures.num_embedded == 0
    assert Path(cached.preview).stat().st_size > 1000
    assert cached.is_accounted
    expected = read_output(tmp_path / "direct").words()
    found = read_output(tmp_path / "cached").words()
    assert set(found) == set(expected)
    same = [found[key]["codes"] == expected[key]["codes"] for key in expected]
    print(f"{same.count(False)} of {len(same)} pairs of codes differ")  # noqa: T201
    assert len(same) > 400
    assert np.mean(same) > 0.98
    for key, row in found.items():
        own = {"codes", "words", "reconstruction_iou", "collides"}
        assert {k: v for k, v in row.items() if k not in own} == {
            k: v for k, v in expected[key].items() if k not in own
        }


def test_another_backbone_is_refused_before_any_work(embedded, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.corpus.run.connect", None)
    other = SAMTok.from_pretrained("tiny", device="cpu")
    other.network.sam2.no_mem_embed.add_(1)
    folder = other.save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigError, match="another backbone") as caught:
        tokenize(tmp_path / "out", embeddings=embedded[0].output, tokenizer=str(folder))
    assert tiny.backbone_fingerprint in str(caught.value)
    assert other.backbone_fingerprint in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(CheckpointError, match="backbone_fingerprint"):
        run_embedding(dataclasses.replace(embedded[0], tokenizer=str(folder)))


def test_settings_that_contradict(tmp_path):
    with pytest.raises(ConfigError, match="needs --source corpus"):
        tokenize(tmp_path, source="scenes", embeddings="x")
    with pytest.raises(ConfigError, match="so give one"):
        tokenize(tmp_path, corpus="x", embeddings="y")
    with pytest.raises(ConfigError, match="needs --corpus"):
        tokenize(tmp_path)
    with pytest.raises(ConfigError, match="nothing to read"):
        tokenize(tmp_path, embeddings=str(tmp_path / "nowhere"))


def test_the_plan_says_what_it_takes(embedded, tmp_path):
    config = dataclasses.replace(embedded[0], output=str(tmp_path / "out"), limit=10)
    plan = plan_embedding(config)
    assert plan["images"] == 10
    assert plan["bytes per image"] == "196,608"
    assert plan["bytes in all, at most"] == "1,966,080"
    assert not (tmp_path / "out").exists()


def test_maps_that_do_not_fit_are_a_bad_row(tiny):
    embeddings = tiny.embed(generate_scene(0, split="val").image)
    stored = store_maps(embeddings)
    again = load_maps(stored, (128, 128), tiny.config)
    assert torch.equal(again.middle, embeddings.middle.to(torch.float16).float())
    with pytest.raises(InputError, match="embedding_malformed"):
        load_maps({**stored, "embedding_fine": stored["embedding_fine"][:-2]}, (1, 1), tiny.config)
    huge = dataclasses.replace(embeddings, fine=embeddings.fine * 1e9)
    with pytest.raises(InputError, match="embedding_not_finite"):
        store_maps(huge)


def test_corpus_embeddings_and_words_in_a_bucket(
    ray_cluster, small_tokenizer_folder, s3_bucket, tmp_path
):
    bucket = Place.at(f"{s3_bucket}/{tmp_path.name}")
    tokenizer = str(small_tokenizer_folder)
    scenes = {"source": "scenes", "num_images": 6, "split": "val"}
    run_ingestion(IngestConfig(**scenes, output=bucket.uri("corpus")))
    run_embedding(
        EmbedConfig(
            source="corpus",
            corpus=bucket.uri("corpus"),
            output=bucket.uri("embeddings"),
            tokenizer=tokenizer,
            num_actors=1,
        )
    )
    assert open_embeddings(bucket.uri("embeddings")).num_images == 6
    settings = {"tokenizer": tokenizer}
    for name, changes in {
        "cached": {"embeddings": bucket.uri("embeddings")},
        "direct": {"corpus": bucket.uri("corpus")},
    }.items():
        summary = tokenize(bucket.uri(name), **changes, **settings)
        assert summary.is_accounted
    keys = [
        {
            (row["image_id"], row["mask_id"])
            for file in bucket.list_files(f"{name}/words")
            for row in bucket.read_parquet(file).to_pylist()
        }
        for name in ("cached", "direct")
    ]
    assert keys[0] == keys[1]
    assert keys[0]
