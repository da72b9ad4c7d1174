import dataclasses
import json

import boto3
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from samtok.errors import CheckpointError, ConfigError
from samtok.mllm import (
    MaskTokenizerReference,
    extend_vocabulary,
    load_mllm,
    load_processor,
    save_mllm,
)
from samtok.mllm.collate import collate, encode_example
from samtok.mllm.model import read_mask_tokenizer
from tests.samtok.mllm.test_collate import make_example
from tests.small_mllm import build_small_mllm

REFERENCE = MaskTokenizerReference(name="tiny", fingerprint="ab" * 32)


@pytest.fixture
def saved(small_mllm, tmp_path):
    return save_mllm(dataclasses.replace(small_mllm, mask_tokenizer=REFERENCE), tmp_path / "model")


def test_a_saved_model_loads_the_way_of_the_hub(small_mllm, saved, image):
    model = AutoModelForImageTextToText.from_pretrained(saved)
    processor = AutoProcessor.from_pretrained(saved)

    ours, theirs = (
        encode_example(make_example("no_target", image), p, 1000)
        for p in (small_mllm.processor, processor)
    )
    assert torch.equal(ours.input_ids, theirs.input_ids)
    assert torch.equal(ours.pixel_values, theirs.pixel_values)
    batch = collate([ours], pad_token_id=0)
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, small_mllm.model(**batch).logits)


def test_a_model_in_a_bucket_loads_in_the_state_it_has(
    small_mllm, saved, s3_bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bucket = boto3.client("s3")
    for file in saved.iterdir():
        bucket.upload_file(str(file), "samtok", f"{tmp_path.name}/model/{file.name}")
    address = f"{s3_bucket}/{tmp_path.name}/model/"

    loaded = load_mllm(address, device="cpu")

    assert loaded.mask_tokenizer == REFERENCE
    for name, tensor in small_mllm.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    (cached,) = (tmp_path / "cache" / "samtok").iterdir()
    weights = cached / "model.safetensors"
    changed = weights.stat().st_mtime_ns
    assert read_mask_tokenizer(address) == REFERENCE
    assert weights.stat().st_mtime_ns == changed, "it was fetched again"

    other = json.dumps({"mask_tokenizer": {"name": "other", "fingerprint": "cd" * 32}})
    bucket.put_object(Bucket="samtok", Key=f"{tmp_path.name}/model/samtok.json", Body=other)
    assert read_mask_tokenizer(address).name == "other"
    with pytest.raises(CheckpointError, match="nowhere"):
        load_mllm(f"{s3_bucket}/nowhere", device="cpu")


def test_a_saved_model_knows_its_mask_tokenizer(small_mllm, saved, tmp_path):
    assert load_mllm(saved, device="cpu").mask_tokenizer == REFERENCE
    card = (saved / "README.md").read_text()
    assert 'SAMTok.from_pretrained("tiny")' in card

    plain = save_mllm(small_mllm, tmp_path / "plain")
    assert load_mllm(plain, device="cpu").mask_tokenizer is None


def test_the_card_tells_what_a_model_has_learned(tmp_path):
    mllm = build_small_mllm("qwen3_vl")
    plain, extended, taught = (tmp_path / name for name in ("plain", "extended", "taught"))
    save_mllm(mllm, plain)
    extend_vocabulary(mllm.model, mllm.processor)
    save_mllm(mllm, extended)
    save_mllm(dataclasses.replace(mllm, mask_tokenizer=REFERENCE), taught)
    assert REFERENCE.fingerprint in (taught / "README.md").read_text()
    said = {"without mask words": [], "has not learned": [], "chat(": []}
    for folder in (plain, extended, taught):
        card = (folder / "README.md").read_text()
        assert "AutoModelForImageTextToText" in card
        for words in said:
            if words in card:
                said[words].append(folder.name)
    assert said == {
        "without mask words": ["plain"],
        "has not learned": ["extended"],
        "chat(": ["taught"],
    }


def test_weights_come_in_the_dtype_asked_for(saved):
    assert load_mllm(saved, device="cpu").model.dtype == torch.float32
    assert load_mllm(saved, device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="float16"):
        load_mllm(saved, device="cpu", dtype="float16")


def test_what_cannot_be_loaded_says_what_is_wrong(saved, tmp_path):
    with pytest.raises(CheckpointError, match="nothing is at"):
        load_mllm(tmp_path / "nowhere", device="cpu")
    with pytest.raises(CheckpointError, match="cannot be loaded as a model"):
        load_mllm(tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match="no processor"):
        load_processor(tmp_path)
    (saved / "samtok.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"samtok\.json"):
        load_mllm(saved, device="cpu")
    (saved / "model.safetensors").unlink()
    torch.save({}, saved / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        load_mllm(saved, device="cpu")
