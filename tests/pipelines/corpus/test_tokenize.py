"""The tokenization pipeline on a real cluster: right rows, once each, whatever the settings."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from pipelines import columns
from pipelines.corpus.tokenize import TokenizeConfig, run_tokenization
from pipelines.storage import Place
from samtok import SAMTok
from samtok.errors import CheckpointError, ConfigError
from samtok.masks import decode_rle
from samtok.metrics.segmentation import mask_iou
from samtok.words import parse

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def config_for(ray_cluster, coco, small_tokenizer_folder):
    annotations, images = coco

    def build(output, **changes):
        settings = {
            "source": "coco",
            "annotations": str(annotations),
            "images": str(images),
            "output": str(output),
            "tokenizer": str(small_tokenizer_folder),
            "num_actors": 1,
            "images_per_block": 8,
            "preview_images": 0,
        }
        return TokenizeConfig(**{**settings, **changes})

    return build


@pytest.fixture(scope="module")
def finished(config_for, tmp_path_factory):
    """A run with reconstruction and its summary."""
    config = config_for(tmp_path_factory.mktemp("finished"), reconstruct=True, preview_images=2)
    return config, run_tokenization(config)


def test_every_mask_comes_out_once(finished, read_output, scenes, num_masks):
    config, summary = finished
    output = read_output(Path(config.output))
    assert len(output.words()) == num_masks == summary.num_masks_listed
    assert summary.is_accounted
    assert summary.figures.num_images == len(scenes)
    assert output.table("words").schema.equals(columns.MASK_WORDS)
    assert output.reasons() == {}


def test_rows_say_what_the_library_says(finished, read_output, scenes):
    """Codes, words, boxes, areas, IoU and collisions recomputed without the pipeline."""
    config, _ = finished
    rows = read_output(Path(config.output)).rows("words")
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    for number, scene in enumerate(scenes, start=1):
        own = [row for row in rows if row["image_id"] == str(number)]
        assert len(own) == len(scene.masks)
        if not own:
            continue
        embeddings = tokenizer.embed(scene.image)
        by_category = {}
        for item, mask in zip(scene.objects, scene.masks, strict=True):
            by_category.setdefault(item.category, []).append(mask)
        for row in own:
            mask = decode_rle(row["rle"])
            assert any((mask == other).all() for other in by_category[row["category"]])
            codes = tokenizer.encode(embeddings, mask[None])
            assert row["codes"] == codes[0].tolist()
            assert [span.codes for span in parse(row["words"])] == [tuple(row["codes"])]
            ys, xs = np.nonzero(mask)
            assert row["bbox"] == [xs.min(), ys.min(), xs.max(), ys.max()]
            assert row["area"] == mask.sum()
            decoded = tokenizer.decode(embeddings, codes).numpy()
            assert row["reconstruction_iou"] == pytest.approx(mask_iou(decoded, mask[None])[0])
            twins = sum(other["codes"] == row["codes"] for other in own)
            assert row["collides"] == (twins > 1)


def test_manifest_and_picture(finished, read_output):
    config, summary = finished
    manifest = read_output(Path(config.output)).manifest()
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    assert manifest["tokenizer_fingerprint"] == tokenizer.fingerprint
    assert manifest["counts"]["figures"]["num_masks"] == summary.figures.num_masks
    assert manifest["config"]["reconstruct"] is True
    assert {"torch", "ray", "sam2"} <= set(manifest["versions"])
    assert summary.preview is not None
    assert os.path.getsize(summary.preview) > 1000


@pytest.mark.parametrize(
    "changes",
    [{"num_actors": 2}, {"images_per_block": 24, "images_per_batch": 24}, {"images_per_batch": 1}],
)
def test_codes_do_not_depend_on_actors_blocks_or_batches(
    finished, config_for, read_output, tmp_path, changes
):
    config, _ = finished
    run_tokenization(config_for(tmp_path / "other", **changes))
    expected = read_output(Path(config.output)).codes()
    assert read_output(tmp_path / "other").codes() == expected


def test_a_finished_output_is_not_done_again(finished, read_output, tmp_path):
    config, first = finished
    manifest = read_output(type(tmp_path)(config.output)).manifest()
    again = run_tokenization(config)
    assert again.images_embedded_now == 0
    assert again.figures == first.figures
    assert read_output(type(tmp_path)(config.output)).manifest() == manifest


def test_other_settings_do_not_mix_into_an_output(finished, tmp_path):
    config, _ = finished
    with pytest.raises(CheckpointError, match=r"reconstruct: True then, False now.*--output"):
        run_tokenization(dataclasses.replace(config, reconstruct=False))
    other = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    other.network.quantizer.codebooks[0].weight.add_(1)
    folder = other.save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match="tokenizer_fingerprint"):
        run_tokenization(dataclasses.replace(config, tokenizer=str(folder)))


def test_limit(config_for, read_output, scenes, tmp_path):
    summary = run_tokenization(config_for(tmp_path, limit=5))
    assert summary.figures.num_images == 5
    assert summary.is_accounted
    listed = {image_id for image_id, _ in read_output(tmp_path).words()}
    assert listed <= {"1", "2", "3", "4", "5"}


def test_scenes_need_no_files(config_for, read_output, tmp_path):
    config = config_for(
        tmp_path, source="scenes", annotations=None, images=None, num_images=10, split="val"
    )
    summary = run_tokenization(config)
    assert summary.is_accounted
    assert summary.figures.num_images == 10
    assert all(image_id.startswith("val-0-") for image_id, _ in read_output(tmp_path).words())


def test_everything_in_a_bucket(finished, config_for, read_output, coco, s3_bucket, tmp_path):
    """Annotations, images, tokenizer and output behind s3:// give the same codes."""
    config, _ = finished
    bucket = Place.at(f"{s3_bucket}/{tmp_path.name}")
    annotations, images = coco
    bucket.write_bytes("instances.json", annotations.read_bytes())
    for image in images.iterdir():
        bucket.write_bytes(f"images/{image.name}", image.read_bytes())
    for file in ("config.json", "model.safetensors"):
        bucket.write_bytes(f"tokenizer/{file}", (Path(config.tokenizer) / file).read_bytes())
    places = {
        "annotations": bucket.uri("instances.json"),
        "images": bucket.uri("images"),
        "tokenizer": bucket.uri("tokenizer"),
    }
    summary = run_tokenization(config_for(bucket.uri("out"), preview_images=1, **places))
    assert summary.is_accounted
    assert summary.preview == bucket.uri("out/preview.png")
    rows = [
        row
        for file in bucket.list_files("out/words")
        for row in bucket.read_parquet(file).to_pylist()
    ]
    codes = {(row["image_id"], row["mask_id"]): tuple(row["codes"]) for row in rows}
    assert codes == read_output(Path(config.output)).codes()
    assert run_tokenization(config_for(bucket.uri("out"), **places)).images_embedded_now == 0


def test_missing_inputs_stop_before_the_cluster(config_for, tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        run_tokenization(config_for(tmp_path, annotations="nowhere.json"))
    with pytest.raises(ConfigError, match="no such folder"):
        run_tokenization(config_for(tmp_path, images="nowhere"))
    with pytest.raises(ConfigError, match="needs --annotations"):
        config_for(tmp_path, annotations=None)
    with pytest.raises(ConfigError, match="images-per-batch is 0"):
        config_for(tmp_path, images_per_batch=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [{"cpus_per_actor": 64.0}, {"gpus_per_actor": 1.0}])
def test_actors_that_never_fit_are_refused(config_for, tmp_path, monkeypatch, size):
    """Instead of waiting for ever; a cluster that was there before may grow."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="too few for one actor"):
        run_tokenization(config_for(tmp_path, **size))
