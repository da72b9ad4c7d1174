"""The evaluation on a real cluster: the library's figures, every mask accounted for."""

import dataclasses
import json
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.evaluation.tokenizer import EvaluateTokenizerConfig, run_evaluation
from samtok import SAMTok
from samtok.errors import CheckpointError, ConfigError
from samtok.metrics.image_measures import MeasureConfig, measure_image
from samtok.metrics.tokenizer_report import TokenizerTally
from samtok.rewards import ExpectedIou
from samtok.rewards.estimation import tally_overlaps
from samtok.rewards.similarity import ExpectedIouTally
from samtok.scenes import generate_scene


@pytest.fixture(scope="module")
def tokenizer(small_tokenizer_folder):
    return SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")


@pytest.fixture(scope="module")
def config_for(ray_cluster, small_tokenizer_folder):
    def build(output, **changes):
        settings = {
            "output": str(output),
            "tokenizer": str(small_tokenizer_folder),
            "num_actors": 1,
            "panel_masks": 2,
        }
        return EvaluateTokenizerConfig(**{**settings, **changes})

    return build


@pytest.fixture(scope="module")
def finished(config_for, corpus, tmp_path_factory):
    """An evaluation of the corpus with everything on, its config and its output."""
    output = tmp_path_factory.mktemp("evaluation")
    config = config_for(output, corpus=str(corpus), stability=True, noise_sigma=8.0, seed=5)
    return config, run_evaluation(config), output


def tally_by_hand(tokenizer, images, **settings):
    tally = TokenizerTally()
    for image_id, image, masks, categories in images:
        if len(masks):
            seed = [5, zlib.crc32(image_id.encode())]
            config = MeasureConfig(**settings)
            tally.add(measure_image(tokenizer, image, masks, config=config, seed=seed), categories)
    return tally.report()


@pytest.mark.ray
def test_figures_are_those_of_the_library(finished, tokenizer, rows, good_masks):
    _, summary, _ = finished
    images = [
        (row["image_id"], image, masks, [item.category for item in objects])
        for row, (image, masks, objects) in zip(rows, good_masks, strict=True)
    ]
    expected = tally_by_hand(tokenizer, images, stability=True, noise_sigma=8.0)
    assert expected.overall.num_masks > 10
    assert summary.report == expected


@pytest.mark.ray
def test_every_mask_is_measured_a_crowd_or_quarantined(finished, rows, good_masks):
    _, summary, output = finished
    assert summary.is_accounted
    assert summary.num_masks_listed == sum(len(row["masks"]) for row in rows)
    assert summary.num_crowds == 1
    assert summary.report.overall.num_masks == sum(len(masks) for _, masks, _ in good_masks)
    assert summary.quarantined == {
        "image_unreadable": len(rows[2]["masks"]),
        "rle_counts_sum": 1,
        "mask_empty": 1,
        "rle_size_mismatch": 1,
    }
    table = pq.read_table(output / "quarantine").to_pylist()
    assert {(row["image_id"], row["mask_id"]) for row in table} >= {
        (rows[1]["image_id"], rows[1]["masks"][number]["mask_id"]) for number in (0, 1)
    }
    assert len(table) == sum(summary.quarantined.values())


@pytest.mark.ray
def test_report_and_manifest_say_what_was_done(finished, tokenizer):
    config, summary, output = finished
    report = json.loads((output / "report.json").read_text())
    assert report["overall"]["means"] == summary.report.overall.means
    assert list(report["stability"]) == ["shift", "dilate", "noise"]
    assert report["tokenizer_fingerprint"] == tokenizer.fingerprint
    manifest = json.loads((output / "_manifest.json").read_text())
    assert manifest["stage"] == "evaluate_tokenizer"
    assert manifest["config"] == dataclasses.asdict(config)
    assert manifest["counts"]["quarantined"] == summary.quarantined
    markdown = (output / "report.md").read_text()
    for text in ("| two words | 2 | 16 |", "## stability", f"{summary.report.num_images}", "bar"):
        assert text in markdown


@pytest.mark.ray
def test_pictures_are_drawn(finished):
    _, summary, output = finished
    assert [path.rpartition("/")[2] for path in summary.pictures] == [
        "panel.png",
        "usage.png",
        "area.png",
    ]
    for path in summary.pictures:
        assert np.asarray(Image.open(path)).std() > 10
    assert {path.name for path in output.iterdir()} == {
        *("report.json", "report.md", "_manifest.json", "quarantine"),
        *("panel.png", "usage.png", "area.png"),
    }


@pytest.mark.ray
def test_scenes_need_no_files_and_actors_do_not_change_figures(config_for, tokenizer, tmp_path):
    settings = {"source": "scenes", "num_images": 20, "limit": 6, "panel_masks": 0}
    one = run_evaluation(config_for(tmp_path / "one", **settings))
    two = run_evaluation(config_for(tmp_path / "two", **settings, num_actors=2, images_per_batch=1))
    assert one.report == two.report
    assert one.num_images_seen == 6
    scenes = [generate_scene(i, split="val") for i in range(6)]
    images = [(s.scene_id, s.image, s.masks, [o.category for o in s.objects]) for s in scenes]
    assert one.report == tally_by_hand(tokenizer, images)
    assert not (tmp_path / "one" / "panel.png").exists()


@pytest.mark.ray
def test_an_earlier_evaluation_is_replaced(
    config_for, finished, corpus, tmp_path, make_corpus, rows
):
    output = tmp_path / "out"
    run_evaluation(config_for(output, corpus=str(corpus), panel_masks=0))
    assert (output / "quarantine").exists()
    good = make_corpus(tmp_path / "good", rows[4:])
    summary = run_evaluation(config_for(output, corpus=str(good), baselines=False, panel_masks=0))
    assert not (output / "quarantine").exists()
    assert summary.report.baselines == []
    assert summary.is_accounted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "--source corpus needs --corpus"),
        ({"source": "scenes", "corpus": "here"}, "leave one of them out"),
        ({"source": "scenes", "num_images": 0}, "--num-images is 0"),
        ({"source": "scenes", "limit": 0}, "--limit is 0"),
        ({"source": "scenes", "num_actors": 0}, "--num-actors is 0"),
        ({"source": "scenes", "images_per_batch": 0}, "--images-per-batch is 0"),
        ({"source": "scenes", "noise_sigma": -1.0}, "--noise-sigma is -1.0"),
        ({"source": "scenes", "scenes_seed": -1}, "--scenes-seed is -1"),
        ({"source": "scenes", "panel_masks": -1}, "--panel-masks is -1"),
        ({"source": "scenes", "cpus_per_actor": 0.0}, "--cpus-per-actor is 0.0"),
        ({"source": "scenes", "gpus_per_actor": -1.0}, "--gpus-per-actor is -1.0"),
        ({"source": "scenes", "seed": -3}, "--seed is -3"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        EvaluateTokenizerConfig(output="x", **changes)


def test_nothing_runs_without_images_or_tokenizer(tmp_path, monkeypatch):
    def fail():
        raise AssertionError("connected to a cluster")

    monkeypatch.setattr("pipelines.evaluation.tokenizer.connect", fail)
    with pytest.raises(ConfigError, match="nothing to read at"):
        run_evaluation(EvaluateTokenizerConfig(output=str(tmp_path), corpus=str(tmp_path)))
    with pytest.raises(CheckpointError, match="nowhere"):
        run_evaluation(
            EvaluateTokenizerConfig(output=str(tmp_path), source="scenes", tokenizer="nowhere")
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ray
def test_the_table_of_expected_iou_is_the_librarys(config_for, corpus, good_masks, tmp_path):
    config = config_for(
        tmp_path, corpus=str(corpus), tokenizer="tiny", expected_iou=True, baselines=False
    )
    run_evaluation(config)
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    expected = ExpectedIouTally()
    for row_group in ((0, 1), (3,), (4, 5)):  # the image of row 2 cannot be read
        images = [good_masks[row][:2] for row in row_group]
        expected.add_cells(*tally_overlaps(tokenizer, images).cells())
    assert expected.num_cells_seen > 50
    table = ExpectedIou.load(tmp_path, fingerprint=tokenizer.fingerprint).table
    assert table == pytest.approx(expected.estimate("").table, abs=1e-6)
