"""Broken files on a real cluster: rejected by name or accepted, and nothing is lost."""

import importlib.util
import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.corpus.tokenize import TokenizeConfig, run_tokenization
from samtok.errors import ConfigError
from samtok.masks import label_map_to_masks

pytestmark = pytest.mark.ray

_path = Path(__file__).parents[2] / "fixtures" / "broken.py"
_spec = importlib.util.spec_from_file_location("broken_fixtures", _path)
broken = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(broken)

SHARED_REASONS = {
    "image_missing": {"image_missing"},
    "path_escape": {"image_path_unsafe"},
    "truncated_jpeg": {"image_unreadable"},
    "zero_byte_png": {"image_unreadable"},
    "not_an_image": {"image_unreadable"},
    "declared_size_wrong": {"image_size_mismatch"},
    "huge_declared_size": {"image_too_large", "image_size_mismatch"},
    "rle_wrong_size": {"rle_size_mismatch"},
    "rle_counts_do_not_sum": {"rle_counts_sum"},
    "rle_corrupt_string": {"rle_counts_sum", "rle_counts_malformed"},
    "polygon_too_few_points": {"polygon_too_few_points"},
    "polygon_outside_image": {"polygon_outside_image"},
    "polygon_zero_area": {"mask_empty", "polygon_too_few_points"},
    "polygon_not_a_number": {"polygon_not_a_number"},
    "empty_segmentation": {"segmentation_empty"},
    "bad_category": {"unknown_category"},
    "orphan_annotation": {"unknown_image"},
    "duplicate_ids": {"duplicate_annotation_id"},
    "non_utf8_name": {"image_missing", "image_path_unsafe"},
}


@pytest.fixture(scope="module")
def merge_and_run(ray_cluster, small_tokenizer_folder, tmp_path_factory, read_output):
    """Tokenizes one COCO corpus made of many cases; ids become CASE/ID, so one run serves all."""

    def run(cases):
        folder = tmp_path_factory.mktemp("merged")
        merged = {"images": [], "annotations": [], "categories": []}
        for case, (annotations, images) in cases.items():
            shutil.copytree(images, folder / "images" / case)
            content = json.loads(annotations.read_text())
            for entry in content["images"]:
                name = f"{case}/{entry['file_name']}"
                merged["images"].append({**entry, "id": f"{case}/{entry['id']}", "file_name": name})
            for entry in content["annotations"]:
                ids = {k: f"{case}/{entry[k]}" for k in ("id", "image_id", "category_id")}
                merged["annotations"].append({**entry, **ids})
            merged["categories"] += [
                {**entry, "id": f"{case}/{entry['id']}"} for entry in content["categories"]
            ]
        path = folder / "instances.json"
        path.write_text(json.dumps(merged))
        summary = run_tokenization(
            TokenizeConfig(
                source="coco",
                annotations=str(path),
                images=str(folder / "images"),
                output=str(folder / "out"),
                tokenizer=str(small_tokenizer_folder),
                num_actors=1,
                preview_images=0,
            )
        )
        return summary, read_output(folder / "out"), merged

    return run


def split_by_case(output):
    """Mask ids kept and (mask id, reason) pairs quarantined, by case."""
    kept, quarantined = {}, {}
    for image_id, mask_id in output.words():
        kept.setdefault(image_id.split("/")[0], set()).add(mask_id.split("/")[1])
    for row in output.rows("quarantine"):
        case, _, mask_id = row["mask_id"].partition("/")
        quarantined.setdefault(case, set()).add((mask_id, row["reason"]))
        assert row["detail"]
    return kept, quarantined


@pytest.fixture(scope="module")
def made(merge_and_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    cases = {
        case: broken.build_case(case, folder / case)
        for case, expected in broken.EXPECTED.items()
        if expected.quarantined is not None
    }
    return merge_and_run(cases)


def test_made_cases_lose_nothing(made):
    summary, output, merged = made
    assert summary.is_accounted
    assert summary.num_masks_listed == len(merged["annotations"])
    assert len(output.words()) + len(output.rows("quarantine")) == len(merged["annotations"])


@pytest.mark.parametrize(
    "case", [c for c, expected in broken.EXPECTED.items() if expected.quarantined is not None]
)
def test_made_case(made, case):
    kept, quarantined = split_by_case(made[1])
    expected = broken.EXPECTED[case]
    assert kept.get(case, set()) == expected.kept
    assert quarantined.get(case, set()) == expected.quarantined


def test_cut_annotation_file_is_refused(small_tokenizer_folder, tmp_path):
    annotations, images = broken.build_case("json_truncated", tmp_path / "case")
    config = TokenizeConfig(
        source="coco",
        annotations=str(annotations),
        images=str(images),
        output=str(tmp_path / "out"),
        tokenizer=str(small_tokenizer_folder),
    )
    with pytest.raises(ConfigError, match=r"annotations\.json stops in the middle"):
        run_tokenization(config)


def test_an_output_can_be_used_once_the_annotation_file_is_mended(
    ray_cluster, small_tokenizer_folder, tmp_path
):
    annotations, images = broken.build_case("json_truncated", tmp_path / "case")
    config = TokenizeConfig(
        source="coco",
        annotations=str(annotations),
        images=str(images),
        output=str(tmp_path / "out"),
        tokenizer=str(small_tokenizer_folder),
        num_actors=1,
        preview_images=0,
    )
    with pytest.raises(ConfigError):
        run_tokenization(config)
    broken.BUILDERS["multi_part_polygon"](tmp_path / "case")
    assert run_tokenization(config).figures.num_masks == 1


@pytest.fixture(scope="module")
def shared_cases(shared_data, tmp_path_factory):
    """The COCO cases of the shared collection: expectation, annotation file, image folder."""
    collection = json.loads((shared_data / "broken" / "expected.json").read_text())["cases"]
    found = {}
    for entry in collection:
        folder = shared_data / "broken" / entry["case"]
        if entry["case"] == "non_utf8_name":
            folder = tmp_path_factory.mktemp("non_utf8")
            with tarfile.open(shared_data / "broken" / "non_utf8_name" / "files.tar") as archive:
                archive.extractall(folder, filter="data")
            folder = next(folder.rglob("annotations.json")).parent
        annotations = folder / "annotations.json"
        if annotations.is_file() and entry["expected_handling"] != "reject_file":
            found[entry["case"]] = (entry, annotations, folder)
    return found


def test_shared_cases(shared_cases, merge_and_run):
    assert len(shared_cases) >= 29
    summary, output, merged = merge_and_run({c: (a, f) for c, (_, a, f) in shared_cases.items()})
    assert summary.is_accounted
    assert summary.num_masks_listed == len(merged["annotations"])
    kept, quarantined = split_by_case(output)
    for case, (entry, _, _) in shared_cases.items():
        valid = entry["valid_annotation_ids"]
        if valid is not None:
            assert kept.get(case, set()) == {str(i) for i in valid}, case
        reasons = {reason for _, reason in quarantined.get(case, set())}
        if case in SHARED_REASONS:
            assert reasons, case
            assert reasons <= SHARED_REASONS[case], (case, reasons)
        else:
            assert not reasons, (case, reasons)


def test_shared_masks_have_their_true_areas(shared_cases, merge_and_run):
    """Areas that the collection states, of cases whose handling changes the mask."""
    chosen = ("polygon_outside_image", "iscrowd", "full_image_mask", "multi_part_polygon")
    cases = {c: shared_cases[c][1:] for c in chosen}
    _, output, _ = merge_and_run(cases)
    areas = {image_id.split("/")[0]: row["area"] for (image_id, _), row in output.words().items()}
    facts = {c: shared_cases[c][0]["facts"] for c in chosen}
    assert areas["iscrowd"] == facts["iscrowd"]["area"]
    assert areas["full_image_mask"] == facts["full_image_mask"]["area"]
    assert areas["multi_part_polygon"] == facts["multi_part_polygon"]["area"]
    assert areas["polygon_outside_image"] == facts["polygon_outside_image"]["clipped_area_of_2"]


def test_shared_cut_annotation_file_is_refused(shared_data, small_tokenizer_folder, tmp_path):
    folder = shared_data / "broken" / "json_truncated"
    config = TokenizeConfig(
        source="coco",
        annotations=str(folder / "annotations.json"),
        images=str(folder),
        output=str(tmp_path),
        tokenizer=str(small_tokenizer_folder),
    )
    with pytest.raises(ConfigError, match="stops in the middle"):
        run_tokenization(config)


@pytest.mark.parametrize(
    ("case", "file"), [("sa1b_bad", "sa_1.json"), ("refs_bad", "grefs(unc).json")]
)
def test_other_formats_are_refused_by_name(
    shared_data, small_tokenizer_folder, tmp_path, case, file
):
    """They have no reader yet; taken for COCO instances they end in a message, not in words."""
    folder = shared_data / "broken" / case
    config = TokenizeConfig(
        source="coco",
        annotations=str(folder / file),
        images=str(folder),
        output=str(tmp_path),
        tokenizer=str(small_tokenizer_folder),
    )
    with pytest.raises(ConfigError, match=re.escape(file)):
        run_tokenization(config)


def test_panoptic_files_give_no_words(shared_data, ray_cluster, small_tokenizer_folder, tmp_path):
    """Their annotations lack what instances have: each is quarantined."""
    folder = shared_data / "broken" / "panoptic_inconsistent"
    summary = run_tokenization(
        TokenizeConfig(
            source="coco",
            annotations=str(folder / "panoptic.json"),
            images=str(folder),
            output=str(tmp_path),
            tokenizer=str(small_tokenizer_folder),
            num_actors=1,
        )
    )
    assert summary.is_accounted
    assert summary.figures.num_masks == 0
    assert summary.num_quarantined_masks > 0


def test_void_pixels_are_no_object(shared_data):
    """VOC style palette masks: 255 is void."""
    case = shared_data / "broken" / "mask_png_with_void"
    label_map = np.asarray(Image.open(case / "mask.png"))
    masks = label_map_to_masks(label_map)
    assert {label: int(mask.sum()) for label, mask in masks.items()} == {1: 50333}
