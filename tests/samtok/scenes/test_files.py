"""Scene sets on disk: what readers of COCO and gRefCOCO find in them is what was drawn."""

import hashlib
import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from samtok.errors import ConfigError
from samtok.scenes import SceneConfig, SceneText, describe_scene, generate_scene
from samtok.scenes import files as scene_files
from samtok.scenes.files import write_scene_files
from samtok.scenes.plan import list_categories

NUM_IMAGES, SEED, SPLIT = 20, 4, "test"
CONFIG = SceneConfig(height=64, width=80, empty_share=0.1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    output = tmp_path_factory.mktemp("scenes") / "set"
    summary = write_scene_files(output, NUM_IMAGES, seed=SEED, split=SPLIT, config=CONFIG)
    return output, summary


@pytest.fixture(scope="module")
def scenes():
    return [
        generate_scene(index, split=SPLIT, seed=SEED, config=CONFIG) for index in range(NUM_IMAGES)
    ]


@pytest.fixture(scope="module")
def coco(written):
    return COCO(written[0] / "instances.json")


@pytest.fixture(scope="module")
def refs(written):
    return json.loads((written[0] / "refs.json").read_text())


def hash_files(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def list_annotations(coco, image):
    return coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))


def test_only_finished_files_are_there(written):
    names = {path.name for path in written[0].iterdir()}
    assert names == {"images", "instances.json", "refs.json", "texts.jsonl"}


def test_images_are_the_scenes_to_the_pixel(written, coco, scenes):
    images = coco.loadImgs(coco.getImgIds())
    assert [image["file_name"] for image in images] == [f"{s.scene_id}.png" for s in scenes]
    assert len(list((written[0] / "images").iterdir())) == NUM_IMAGES
    for image, scene in zip(images, scenes, strict=True):
        assert isinstance(image["id"], int)
        assert (image["height"], image["width"]) == (64, 80)
        with Image.open(written[0] / "images" / image["file_name"]) as opened:
            assert np.array_equal(np.asarray(opened), scene.image)


def test_coco_reads_the_masks_that_were_drawn(coco, scenes):
    for image, scene in zip(coco.loadImgs(coco.getImgIds()), scenes, strict=True):
        annotations = list_annotations(coco, image)
        assert len(annotations) == len(scene.masks)
        for mask, item, entry in zip(scene.masks, scene.objects, annotations, strict=True):
            assert isinstance(entry["segmentation"]["counts"], str)
            assert np.array_equal(coco.annToMask(entry).astype(bool), mask)
            columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
            size = [columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            assert entry["bbox"] == [columns[0], rows[0], *size]
            assert (entry["area"], entry["iscrowd"]) == (mask.sum(), 0)
            assert coco.cats[entry["category_id"]]["name"] == item.category


def test_annotations_say_what_the_objects_are(coco, scenes):
    parts = 0
    for image, scene in zip(coco.loadImgs(coco.getImgIds()), scenes, strict=True):
        annotations = list_annotations(coco, image)
        for item, entry in zip(scene.objects, annotations, strict=True):
            said = entry["attributes"]
            assert (said["color"], said["texture"]) == (item.color, item.texture)
            assert said["is_thin"] == item.is_thin
            assert said["visible_share"] == pytest.approx(item.visible_share, abs=1e-4)
            whole = None if item.part_of is None else annotations[item.part_of]["id"]
            assert said["part_of"] == whole
            parts += whole is not None
    assert parts > 0


def test_ids_are_unique_and_every_category_is_listed(coco, refs):
    entries = coco.dataset["annotations"]
    assert len({entry["id"] for entry in entries}) == len(entries)
    assert len({ref["ref_id"] for ref in refs}) == len(refs)
    sentences = [sentence["sent_id"] for ref in refs for sentence in ref["sentences"]]
    assert len(set(sentences)) == len(sentences)
    assert sorted(category["name"] for category in coco.cats.values()) == list_categories()


def test_refs_point_at_annotations_of_their_image(coco, refs):
    kinds = set()
    for ref in refs:
        assert ref["split"] == SPLIT
        assert ref["file_name"] == coco.imgs[ref["image_id"]]["file_name"]
        assert ref["no_target"] == (ref["ann_id"] == [-1]) == (ref["category_id"] == [-1])
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]]
        kinds.add("none" if ref["no_target"] else min(len(ref["ann_id"]), 2))
        if not ref["no_target"]:
            entries = [coco.anns[ann_id] for ann_id in ref["ann_id"]]
            assert len({entry["id"] for entry in entries}) == len(entries)
            assert {entry["image_id"] for entry in entries} == {ref["image_id"]}
            assert ref["category_id"] == [entry["category_id"] for entry in entries]
    assert kinds == {"none", 1, 2}


def test_refs_hold_every_expression_with_the_masks_it_means(coco, refs, scenes):
    by_image = {}
    for ref in refs:
        for sentence in ref["sentences"]:
            assert sentence["sent"] == sentence["raw"].lower()
            assert sentence["tokens"]
            meant = frozenset(ref["ann_id"]) - {-1}
            by_image.setdefault(ref["file_name"], []).append((sentence["raw"], meant))
    for image, scene in zip(coco.loadImgs(coco.getImgIds()), scenes, strict=True):
        ids = [entry["id"] for entry in list_annotations(coco, image)]
        expected = [
            (text.text, frozenset(ids[int(mask_id)] for mask_id in text.mask_ids))
            for text in describe_scene(scene, seed=SEED)
            if text.kind == "referring"
        ]
        found = by_image.get(image["file_name"], [])
        assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_wordings_for_the_same_masks_share_a_ref_and_every_absence_is_its_own(
    tmp_path, monkeypatch
):
    said = [("a", ("0",)), ("b", ()), ("c", ("0",)), ("d", ())]
    texts = tuple(
        SceneText(kind="referring", text=text, mask_ids=mask_ids, spans=())
        for text, mask_ids in said
    )
    monkeypatch.setattr(scene_files, "describe_scene", lambda scene, seed: texts)
    write_scene_files(tmp_path, 1, config=SceneConfig(empty_share=0.0))
    refs = json.loads((tmp_path / "refs.json").read_text())
    wordings = [[sentence["sent"] for sentence in ref["sentences"]] for ref in refs]
    assert wordings == [["a", "c"], ["b"], ["d"]]
    assert [ref["no_target"] for ref in refs] == [False, True, True]


def test_texts_point_at_annotations_with_spans_inside_the_text(written, coco, scenes):
    lines = (written[0] / "texts.jsonl").read_text().splitlines()
    images = coco.loadImgs(coco.getImgIds())
    for line, image, scene in zip(lines, images, scenes, strict=True):
        row = json.loads(line)
        assert (row["image_id"], row["file_name"]) == (image["id"], image["file_name"])
        ids = [entry["id"] for entry in list_annotations(coco, image)]
        for found, text in zip(row["texts"], describe_scene(scene, seed=SEED), strict=True):
            assert (found["kind"], found["text"]) == (text.kind, text.text)
            assert found["mask_ids"] == [ids[int(mask_id)] for mask_id in text.mask_ids]
            for span, meant in zip(found["spans"], text.spans, strict=True):
                assert 0 <= span["start"] < span["end"] <= len(found["text"])
                assert span["mask_ids"] == [ids[int(mask_id)] for mask_id in meant.mask_ids]


def test_the_summary_counts_what_the_files_hold(written, coco, refs, scenes):
    summary = written[1]
    objects = [item for scene in scenes for item in scene.objects]
    assert summary.num_images == NUM_IMAGES
    assert summary.masks == {
        "all": len(coco.anns),
        "small": sum(item.area < 64 * 80 / 100 for item in objects),
        "thin": sum(item.is_thin for item in objects),
        "part": sum(item.part_of is not None for item in objects),
        "occluded": sum(item.visible_share < 0.9 for item in objects),
    }
    assert min(summary.masks.values()) > 0
    assert summary.refs == {
        "single": sum(len(ref["ann_id"]) == 1 and not ref["no_target"] for ref in refs),
        "several": sum(len(ref["ann_id"]) > 1 for ref in refs),
        "none": sum(ref["no_target"] for ref in refs),
        "sentences": sum(len(ref["sentences"]) for ref in refs),
    }
    assert summary.texts["referring"] == summary.refs["sentences"]


def test_any_number_of_workers_writes_the_same_bytes(written, tmp_path):
    told = []
    summary = write_scene_files(
        tmp_path,
        NUM_IMAGES,
        seed=SEED,
        split=SPLIT,
        config=CONFIG,
        num_workers=2,
        report=told.append,
    )
    assert hash_files(tmp_path) == hash_files(written[0])
    assert summary == written[1]
    assert told == list(range(1, NUM_IMAGES + 1))


def test_empty_scenes_make_files_that_can_be_read(tmp_path):
    summary = write_scene_files(tmp_path, 2, config=SceneConfig(empty_share=1.0))
    coco = COCO(tmp_path / "instances.json")
    assert (len(coco.imgs), len(coco.anns), summary.masks["all"]) == (2, 0, 0)
    refs = json.loads((tmp_path / "refs.json").read_text())
    assert all(ref["no_target"] and ref["ann_id"] == [-1] for ref in refs)
    assert len((tmp_path / "texts.jsonl").read_text().splitlines()) == 2


def test_a_run_that_breaks_off_leaves_no_file_that_looks_finished(tmp_path):
    def break_off(written):
        if written == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scene_files(tmp_path, 3, config=CONFIG, report=break_off)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_files, "describe_scene", lambda scene, seed: ())
    config = SceneConfig(height=32, width=32, min_visible_pixels=4, empty_share=0.0)

    def measure_peak(name, num_images):
        tracemalloc.start()
        write_scene_files(tmp_path / name, num_images, config=config)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    measure_peak("warm", 20)
    growth = measure_peak("many", 220) - measure_peak("few", 20)
    assert growth < 0.25 * (tmp_path / "many" / "instances.json").stat().st_size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_images": 0}, "num_images is 0; at least 1"),
        ({"num_workers": 0}, "num_workers is 0; at least 1"),
        ({"seed": -1}, "scene seed is -1; at least 0"),
        ({"split": "dev"}, "split is 'dev'; allowed are train, val, test"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        write_scene_files(tmp_path / "out", **{"num_images": 1, **settings})
    assert not (tmp_path / "out").exists()
