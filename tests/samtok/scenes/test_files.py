"""Scene sets as files, read by the tools that read real ones."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from samtok.errors import ConfigError
from samtok.scenes import SceneConfig, describe_scene, generate_scene
from samtok.scenes.files import write_scene_files

NUM_IMAGES = 30
CONFIG = SceneConfig(height=96, width=128)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    summary = write_scene_files(folder, NUM_IMAGES, seed=4, split="test", config=CONFIG)
    return folder, summary


@pytest.fixture(scope="module")
def scenes():
    return [generate_scene(i, seed=4, split="test", config=CONFIG) for i in range(NUM_IMAGES)]


@pytest.fixture(scope="module")
def coco(written):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(written[0] / "instances.json")


@pytest.fixture(scope="module")
def refs(written):
    return json.loads((written[0] / "refs.json").read_text())


def test_images_are_the_scenes(written, coco, scenes):
    assert len(coco.imgs) == NUM_IMAGES == len(list((written[0] / "images").iterdir()))
    for image, scene in zip(coco.dataset["images"], scenes, strict=True):
        with Image.open(written[0] / "images" / image["file_name"]) as picture:
            assert np.array_equal(np.asarray(picture), scene.image)
        assert (image["height"], image["width"]) == (96, 128)


def test_coco_decodes_to_the_masks(coco, scenes):
    for image, scene in zip(coco.dataset["images"], scenes, strict=True):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert len(annotations) == len(scene.masks)
        for annotation, mask, item in zip(annotations, scene.masks, scene.objects, strict=True):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
            rows, columns = np.nonzero(mask)
            x, y, width, height = annotation["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert annotation["area"] == mask.sum()
            assert annotation["iscrowd"] == 0
            assert coco.cats[annotation["category_id"]]["name"] == item.category


def test_parts_point_at_the_annotation_of_their_whole(coco):
    parts = [a for a in coco.anns.values() if a["attributes"]["part_of"] is not None]
    assert parts
    for part in parts:
        whole = coco.anns[part["attributes"]["part_of"]]
        assert whole["image_id"] == part["image_id"]
        assert (coco.annToMask(part) <= coco.annToMask(whole)).all()


def test_refs_point_at_annotations_of_their_image(coco, refs):
    for ref in refs:
        assert ref["split"] == "test"
        assert coco.imgs[ref["image_id"]]["file_name"] == ref["file_name"]
        assert ref["no_target"] == (ref["ann_id"] == [-1])
        if ref["no_target"]:
            assert ref["category_id"] == [-1]
        else:
            targets = coco.loadAnns(ref["ann_id"])
            assert {target["image_id"] for target in targets} == {ref["image_id"]}
            assert [target["category_id"] for target in targets] == ref["category_id"]
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]]


def test_ids_are_unique(coco, refs):
    assert len(coco.dataset["annotations"]) == len(coco.anns)
    assert len({ref["ref_id"] for ref in refs}) == len(refs)
    sent_ids = [number for ref in refs for number in ref["sent_ids"]]
    assert len(set(sent_ids)) == len(sent_ids)


def test_refs_hold_every_expression_of_every_scene(coco, refs, scenes):
    expected = {
        (scene.scene_id, text.text, text.mask_ids)
        for scene in scenes
        for text in describe_scene(scene, seed=4)
        if text.kind == "referring"
    }
    stored = {
        (
            ref["file_name"].removesuffix(".png"),
            sentence["raw"],
            tuple(coco.anns[i]["mask_id"] for i in ref["ann_id"] if i != -1),
        )
        for ref in refs
        for sentence in ref["sentences"]
    }
    assert stored == expected


def test_texts_keep_their_spans_and_point_at_annotations(written, coco, scenes):
    lines = [json.loads(line) for line in (written[0] / "texts.jsonl").read_text().splitlines()]
    assert len(lines) == NUM_IMAGES
    for line, scene in zip(lines, scenes, strict=True):
        said = describe_scene(scene, seed=4)
        assert [text["text"] for text in line["texts"]] == [text.text for text in said]
        for stored, text in zip(line["texts"], said, strict=True):
            for stored_span, span in zip(stored["spans"], text.spans, strict=True):
                assert (stored_span["start"], stored_span["end"]) == (span.start, span.end)
                named = coco.loadAnns(stored_span["mask_ids"])
                assert tuple(annotation["mask_id"] for annotation in named) == span.mask_ids
                assert all(a["image_id"] == line["image_id"] for a in named)


def test_the_summary_counts_what_is_in_the_files(written, coco, refs):
    summary = written[1]
    assert summary.num_images == NUM_IMAGES
    annotations = list(coco.anns.values())
    assert summary.masks == {
        "all": len(annotations),
        "small": sum(a["area"] < 0.01 * 96 * 128 for a in annotations),
        "thin": sum(a["attributes"]["is_thin"] for a in annotations),
        "part": sum(a["attributes"]["part_of"] is not None for a in annotations),
        "occluded": sum(a["attributes"]["visible_share"] < 0.9 for a in annotations),
    }
    assert summary.refs == {
        "single": sum(len(r["ann_id"]) == 1 and not r["no_target"] for r in refs),
        "several": sum(len(r["ann_id"]) > 1 for r in refs),
        "none": sum(r["no_target"] for r in refs),
        "sentences": sum(len(r["sentences"]) for r in refs),
    }
    assert min(summary.masks.values()) > 0
    assert min(summary.refs.values()) > 0


def test_more_workers_write_the_same_files(tmp_path):
    for num_workers in (1, 2):
        write_scene_files(tmp_path / str(num_workers), 20, seed=1, num_workers=num_workers)
    for name in ("instances.json", "refs.json", "texts.jsonl"):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("1", "2"))
        assert first == second


def test_a_set_of_empty_scenes_is_still_valid(tmp_path):
    write_scene_files(tmp_path, 3, config=SceneConfig(empty_share=1.0))
    assert json.loads((tmp_path / "instances.json").read_text())["annotations"] == []
    refs = json.loads((tmp_path / "refs.json").read_text())
    assert all(ref["no_target"] for ref in refs)


def test_an_interrupted_run_leaves_no_file_that_looks_complete(tmp_path):
    def stop(written):
        if written == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scene_files(tmp_path, 5, report=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize("wrong", [{"num_images": 0}, {"num_workers": 0}])
def test_counts_below_one_are_refused_before_anything_is_written(tmp_path, wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=name):
        write_scene_files(tmp_path / "out", **{"num_images": 1, **wrong})
    assert not (tmp_path / "out").exists()
