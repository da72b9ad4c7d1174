"""Building dialogues on a real cluster: every text accounted for, every conversation once."""

import dataclasses
import json

import pytest

from pipelines import columns
from pipelines.corpus.dialogues import (
    DialoguesConfig,
    TaskWeights,
    plan_dialogues,
    run_dialogues,
)
from pipelines.corpus.ingest import IngestConfig, run_ingestion
from pipelines.corpus.tokenize import TokenizeConfig, run_tokenization
from pipelines.corpus_reader import open_conversations
from pipelines.manifest import MANIFEST_FILE
from pipelines.storage import Place
from samtok.errors import CheckpointError, ConfigError
from samtok.scenes.files import write_scene_files
from samtok.words import parse

pytestmark = pytest.mark.ray

NUM_IMAGES = 14
GONE = "3"  # image whose words are missing


@pytest.fixture(scope="module")
def inputs(ray_cluster, small_tokenizer_folder, tmp_path_factory):
    """Scene files → Corpus with texts → words; then an image's words are taken away."""
    folder = tmp_path_factory.mktemp("inputs")
    write_scene_files(folder / "scenes", NUM_IMAGES, seed=5, split="val")
    corpus, words = folder / "corpus", folder / "words"
    summary = run_ingestion(
        IngestConfig(
            source="coco",
            annotations=str(folder / "scenes" / "instances.json"),
            images=str(folder / "scenes" / "images"),
            texts=str(folder / "scenes" / "texts.jsonl"),
            output=str(corpus),
            images_per_block=6,
        )
    )
    assert summary.is_accounted
    assert summary.figures.num_quarantined_texts == 0
    run_tokenization(
        TokenizeConfig(
            source="corpus",
            corpus=str(corpus),
            output=str(words),
            tokenizer=str(small_tokenizer_folder),
            num_actors=1,
            images_per_batch=4,
            preview_images=0,
        )
    )
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for file in (words / "words").glob("*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.filter(pc.not_equal(table["image_id"], GONE)), file)
    image = folder / "scenes" / "images" / "val-5-00000000.png"
    row = {
        "messages": [
            {"role": "user", "content": "What is it?"},
            {"role": "assistant", "content": "A scene."},
        ],
        "image_uri": image.name,
    }
    lines = [json.dumps(row), json.dumps({**row, "image_uri": "gone.png"})]
    (folder / "general.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def config_for(inputs):
    def build(output, **changes):
        settings = {
            "corpus": str(inputs / "corpus"),
            "words": str(inputs / "words"),
            "output": str(output),
            "images_per_block": 5,
            "preview_samples": 1,
            "weights": TaskWeights(referring_segmentation=1.5),
            "general": str(inputs / "general.jsonl"),
            "general_images": str(inputs / "scenes" / "images"),
        }
        return DialoguesConfig(**{**settings, **changes})

    return build


@pytest.fixture(scope="module")
def built(config_for, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return folder, run_dialogues(config_for(folder))


def test_rows_speak_in_the_words_of_their_masks(built, inputs, read_output):
    folder, _ = built
    table = read_output(folder).table("conversations")
    assert table.schema.equals(columns.CONVERSATIONS)
    rows = table.to_pylist()
    assert len({row["conversation_id"] for row in rows}) == len(rows) > 200
    words = {key: row["words"] for key, row in read_output(inputs / "words").words().items()}
    corpus = {row["image_id"]: row for row in read_output(inputs / "corpus").rows("corpus")}
    tasks = set()
    for row in rows:
        tasks.add(row["task"])
        named = [words[row["image_id"], mask_id] for mask_id in row["mask_ids"]]
        assert row["target_words"] == named
        answer = row["messages"][-1]["content"]
        assert [answer[span.start : span.end] for span in parse(answer)] == named
        image = corpus["1" if row["task"] == "general_vqa" else row["image_id"]]
        assert row["image_uri"] == image["image_uri"]
        assert (row["height"], row["width"]) == (image["height"], image["width"])
        assert row["image"] is None
    assert tasks == {field.name for field in dataclasses.fields(TaskWeights)}


def test_every_text_is_accounted_for(built, inputs, read_output):
    folder, summary = built
    assert summary.is_accounted
    texts = {row["image_id"]: row["texts"] for row in read_output(inputs / "corpus").rows("corpus")}
    assert summary.num_texts_listed == sum(map(len, texts.values())) + 2
    lost = [text for text in texts[GONE] if text["mask_ids"]]
    assert lost
    assert summary.figures.quarantined == {"mask_words_missing": len(lost), "image_missing": 1}
    rows = read_output(folder).rows("quarantine")
    assert {row["image_id"] for row in rows} == {GONE, "general_vqa/1"}
    counts = summary.figures.num_conversations
    assert sum(counts.values()) == len(read_output(folder).rows("conversations"))


def test_a_reader_finds_files_counts_and_fingerprint(built, inputs, small_tokenizer_folder):
    from samtok import SAMTok

    folder, summary = built
    fingerprint = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu").fingerprint
    files = open_conversations(str(folder), tokenizer_fingerprint=fingerprint)
    assert files.num_conversations == summary.figures.num_conversations
    assert files.read_schema().equals(columns.CONVERSATIONS)
    with pytest.raises(ConfigError, match=r"another tokenizer: its fingerprint is .* again"):
        open_conversations(str(folder), tokenizer_fingerprint="0" * 64)
    with pytest.raises(ConfigError, match="was written by jobs/ingest_corpus"):
        open_conversations(str(inputs / "corpus"))
    assert (folder / "preview.png").stat().st_size > 1000


def test_blocks_and_workers_change_nothing(built, config_for, read_output, tmp_path):
    folder, first = built
    again = run_dialogues(config_for(folder))
    assert again.images_done_now == 0
    assert again.figures == first.figures
    other = config_for(tmp_path, images_per_block=3, num_workers=2, preview_samples=0)
    run_dialogues(other)
    rows, other_rows = (
        {row["conversation_id"]: row for row in read_output(place).rows("conversations")}
        for place in (folder, tmp_path)
    )
    assert rows == other_rows
    with pytest.raises(CheckpointError, match="mixture"):
        run_dialogues(dataclasses.replace(other, seed=1))


def test_a_cut_run_is_continued(built, config_for, read_output, tmp_path):
    folder, _ = built
    run_dialogues(config_for(tmp_path, preview_samples=0))
    (tmp_path / MANIFEST_FILE).unlink()
    commits = sorted((tmp_path / "_commits").iterdir())
    commits[0].unlink()
    summary = run_dialogues(config_for(tmp_path, preview_samples=0))
    assert 0 < summary.images_done_now < NUM_IMAGES
    assert summary.is_accounted
    ids = [
        sorted(r["conversation_id"] for r in read_output(f).rows("conversations"))
        for f in (folder, tmp_path)
    ]
    assert ids[0] == ids[1]


def test_everything_in_a_bucket(built, inputs, config_for, s3_bucket, read_output):
    import pyarrow.fs as pafs

    place = Place.at(f"{s3_bucket}/dialogues")
    for name in ("corpus", "words"):
        pafs.copy_files(
            str(inputs / name),
            place.path(name),
            source_filesystem=pafs.LocalFileSystem(),
            destination_filesystem=place.filesystem,
        )
    place.write_bytes("general.jsonl", (inputs / "general.jsonl").read_bytes())
    config = config_for(
        place.uri("out"),
        corpus=place.uri("corpus"),
        words=place.uri("words"),
        general=place.uri("general.jsonl"),
    )
    summary = run_dialogues(config)
    assert summary.preview == place.uri("out/preview.png")
    files = open_conversations(place.uri("out"))
    ids = {
        conversation_id
        for name in files.files
        for conversation_id in files.place.read_parquet(name)["conversation_id"].to_pylist()
    }
    assert ids == {row["conversation_id"] for row in read_output(built[0]).rows("conversations")}


def test_inputs_that_do_not_fit(inputs, config_for, tmp_path):
    with pytest.raises(ConfigError, match="with --reconstruct"):
        run_dialogues(config_for(tmp_path, min_reconstruction_iou=0.5))
    manifest = json.loads((inputs / "corpus" / MANIFEST_FILE).read_text())
    (tmp_path / "corpus").symlink_to(inputs / "corpus" / "corpus")
    (tmp_path / MANIFEST_FILE).write_text(json.dumps({**manifest, "more": 1}))
    with pytest.raises(ConfigError, match=r"those of another corpus .* on this one"):
        run_dialogues(config_for(tmp_path / "out", corpus=str(tmp_path)))
    assert not (tmp_path / "out").exists()


def test_plan_and_limit(config_for, tmp_path):
    plan = plan_dialogues(config_for(tmp_path / "out", limit=1))
    assert plan["images"] == 2  # one image and one general conversation
    assert plan["texts"] > 10
    assert not (tmp_path / "out").exists()
