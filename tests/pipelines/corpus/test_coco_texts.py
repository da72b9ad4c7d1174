"""Language beside COCO instances: what scenes write, and what nobody vouches for."""

import json

import pytest

from pipelines.corpus.index import iterate_rows
from pipelines.corpus.sources.coco import CocoSource
from pipelines.storage import Place
from samtok.errors import ConfigError
from samtok.scenes import describe_scene, generate_scene
from samtok.scenes.files import write_scene_files

NUM_SCENES = 12


@pytest.fixture(scope="module")
def scene_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene_files")
    write_scene_files(folder, NUM_SCENES, seed=2, split="val")
    return folder


@pytest.fixture
def list_texts(scene_files, tmp_path):
    """Lists the scene files with some language; gives index, texts by image and quarantine."""

    def run(limit=None, **language):
        source = CocoSource(
            annotations=str(scene_files / "instances.json"),
            images=str(scene_files / "images"),
            **{key: str(value) for key, value in language.items()},
        )
        source.check()
        output = Place.at(tmp_path / "listed")
        index = source.write_index(output, limit=limit)
        texts = {}
        for row in iterate_rows(output, index.shards):
            image = source.decode(row["image_id"], row["payload"], with_texts=True)
            assert source.decode(row["image_id"], row["payload"]).texts == []
            texts[image.image_id] = image.texts
        quarantined = [
            (row["image_id"], row["mask_id"], row["reason"])
            for file in output.list_files("quarantine")
            for row in output.read_parquet(file).to_pylist()
        ]
        return index, texts, quarantined

    return run


def told(index):
    """Texts of a scene, masks by annotation id, as rows of a corpus have them."""
    texts = describe_scene(generate_scene(index, split="val", seed=2), seed=2)

    def number(mask_ids):
        return [str((index + 1) * 1000 + int(mask_id)) for mask_id in mask_ids]

    return [
        {
            "kind": text.kind,
            "text": text.text,
            "mask_ids": number(text.mask_ids),
            "spans": [
                {
                    "start": span.start,
                    "end": span.end,
                    "mask_ids": number(span.mask_ids),
                    "role": span.role,
                }
                for span in text.spans
            ],
        }
        for text in texts
    ]


def test_texts_of_scene_files_are_those_of_the_scenes(list_texts, scene_files):
    index, texts, quarantined = list_texts(texts=scene_files / "texts.jsonl")
    assert texts == {str(i + 1): told(i) for i in range(NUM_SCENES)}
    assert index.num_texts == sum(map(len, texts.values())) > 100
    assert quarantined == []
    index, texts, _ = list_texts(texts=scene_files / "texts.jsonl", limit=3)
    assert set(texts) == {"1", "2", "3"}
    assert index.num_texts == sum(map(len, texts.values()))


def test_refs_of_scene_files_are_their_expressions(list_texts, scene_files):
    index, texts, quarantined = list_texts(refs=scene_files / "refs.json")
    for i in range(NUM_SCENES):
        expected = [
            ({**text, "text": text["text"].lower()}, text["mask_ids"])
            for text in told(i)
            if text["kind"] == "referring"
        ]
        found = texts[str(i + 1)]
        key = lambda text: (text["text"], text["mask_ids"])  # noqa: E731
        assert sorted(map(key, found)) == sorted(key(text) for text, _ in expected)
        for text in found:
            (span,) = text["spans"]
            assert (span["start"], span["end"]) == (0, len(text["text"]))
            assert span["mask_ids"] == text["mask_ids"]
            assert (text["kind"], span["role"]) == ("referring", "phrase")
    assert any(not text["mask_ids"] for found in texts.values() for text in found)
    assert any(len(text["mask_ids"]) > 1 for found in texts.values() for text in found)
    assert quarantined == []
    assert index.num_texts == sum(map(len, texts.values()))
    none, _, _ = list_texts(refs=scene_files / "refs.json", refs_split="testA")
    assert none.num_texts == 0


def test_published_variants_and_bad_refs(list_texts, tmp_path):
    def ref(**changes):
        return {"image_id": 1, "ann_id": 1000, "sentences": [{"sent": " a cup "}], **changes}

    refs = [
        ref(),
        ref(ann_id=[1001, 1000]),
        ref(ann_id=[-1], sentences=[{"sent": "no dog"}, {"sent": "no cat"}]),
        ref(no_target=True, ann_id=[5], sentences=[{"sent": "nothing"}]),
        ref(image_id=999),
        ref(ann_id=None),
        ref(sentences="a cup"),
        ref(sentences=[{"sent": ""}, {"raw": "x"}, 3]),
        "text",
        {},
    ]
    path = tmp_path / "refs.json"
    path.write_text(json.dumps(refs))
    index, texts, quarantined = list_texts(refs=path)
    assert [(text["text"], text["mask_ids"]) for text in texts["1"]] == [
        ("a cup", ["1000"]),
        ("a cup", ["1001", "1000"]),
        ("no dog", []),
        ("no cat", []),
        ("nothing", []),
    ]
    assert index.num_texts == 5
    assert sorted(quarantined) == sorted(
        [
            ("999", None, "unknown_image"),
            *[("1", None, "text_malformed")] * 5,
            *[("", None, "text_malformed")] * 2,
        ]
    )
    path.write_text("[{")
    with pytest.raises(ConfigError, match="stops in the middle"):
        list_texts(refs=path)
    with pytest.raises(ConfigError, match=r"--refs .*no such file"):
        list_texts(refs=tmp_path / "gone.json")


def test_bad_lines_of_texts(list_texts, tmp_path):
    span = {"start": 0, "end": 3, "mask_ids": [1000], "role": "phrase"}
    good = {"kind": "caption", "text": "A c\ud800p.", "mask_ids": [1000], "spans": [span]}
    lines = [
        json.dumps({"image_id": 1, "texts": [good, {**good, "text": 3}, {"kind": "caption"}]}),
        "",
        json.dumps({"image_id": 1, "texts": [{**good, "spans": [{**span, "start": -1}]}]}),
        json.dumps({"image_id": 1, "texts": [{**good, "mask_ids": [None]}, "text"]}),
        json.dumps({"image_id": 77, "texts": [good]}),
        json.dumps({"texts": [good]}),
        "[1]",
        "{",
    ]
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(lines))
    index, texts, quarantined = list_texts(texts=path)
    assert [text["text"] for text in texts["1"]] == ["A c\\ud800p."]
    assert index.num_texts == 1
    assert sorted(quarantined) == sorted(
        [
            ("77", None, "unknown_image"),
            *[("1", None, "text_malformed")] * 5,
            *[("", None, "text_malformed")] * 3,
        ]
    )
