"""What a user of SAMTok relies on, on the small stand-in weights."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from samtok import SAMTok
from samtok.errors import CheckpointError, ConfigError, InputError
from samtok.masks import encode_rle
from samtok.tokenizer import PRESETS
from samtok.tokenizer.checkpoint import published_state_dict
from samtok.tokenizer.network import TokenizerNetwork

MAPS = ("image", "fine", "middle")


@pytest.fixture
def image(small_cases):
    return small_cases["image_0"]


@pytest.fixture
def masks(small_cases):
    return small_cases["masks_0"]


def test_image_array_pil_path_and_embeddings_give_the_same_codes(
    small_tokenizer, small_cases, image, masks, tmp_path
):
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    expected = small_cases["codes_0"]
    embeddings = small_tokenizer.embed(image)
    for source in (image, Image.fromarray(image), path, str(path), embeddings):
        np.testing.assert_array_equal(small_tokenizer.encode(source, masks), expected)


def test_rle_masks_give_the_same_codes(small_tokenizer, image, masks):
    rles = [encode_rle(mask) for mask in masks]
    expected = small_tokenizer.encode(image, masks)
    assert torch.equal(small_tokenizer.encode(image, rles), expected)
    assert torch.equal(small_tokenizer.encode(image, torch.from_numpy(masks)), expected)


def test_many_masks_go_through_in_chunks(small_tokenizer, image, masks):
    """More masks than a chunk holds; each comes out as if it were alone."""
    embeddings = small_tokenizer.embed(image)
    many = np.concatenate([masks] * 12)
    codes = small_tokenizer.encode(embeddings, many)
    alone = torch.cat([small_tokenizer.encode(embeddings, mask[None]) for mask in masks])
    assert torch.equal(codes, alone.repeat(12, 1))
    decoded = small_tokenizer.decode(embeddings, codes)
    assert torch.equal(decoded[: len(masks)], decoded[-len(masks) :])


def test_no_masks(small_tokenizer, image, masks):
    embeddings = small_tokenizer.embed(image)
    assert small_tokenizer.encode(embeddings, masks[:0]).shape == (0, 2)
    assert small_tokenizer.encode(embeddings, []).shape == (0, 2)
    assert small_tokenizer.decode(embeddings, []).shape == (0, *image.shape[:2])


def test_several_images_at_once(small_tokenizer, small_cases):
    count = int(small_cases["n_images"])
    images = [small_cases[f"image_{i}"] for i in range(count)]
    embeddings = small_tokenizer.embed(images)
    assert len(embeddings) == count
    assert embeddings.sizes == tuple(image.shape[:2] for image in images)
    for i in range(count):
        codes = small_tokenizer.encode(embeddings[i], small_cases[f"masks_{i}"])
        np.testing.assert_array_equal(codes, small_cases[f"codes_{i}"])
    assert len(embeddings[1:]) == count - 1
    with pytest.raises(ValueError, match=r"pass embeddings\[i\]"):
        small_tokenizer.encode(embeddings, small_cases["masks_0"])
    with pytest.raises(IndexError):
        embeddings[count]


def test_no_call_changes_embeddings_or_codes(small_tokenizer, image, masks):
    embeddings = small_tokenizer.embed(image)
    before = [m.clone() for m in (embeddings.image, embeddings.fine, embeddings.middle)]
    codes = torch.tensor([[3, -1], [200, 7]])
    kept = codes.clone()
    small_tokenizer.encode(embeddings, masks)
    small_tokenizer.decode(embeddings, codes)
    assert torch.equal(codes, kept)
    for now, then in zip(
        (embeddings.image, embeddings.fine, embeddings.middle), before, strict=True
    ):
        assert torch.equal(now, then)


def test_stored_half_precision_embeddings_are_accepted(small_tokenizer, image):
    embeddings = small_tokenizer.embed(image)
    stored = embeddings.to("cpu", torch.float16)
    assert stored.num_bytes == embeddings.num_bytes // 2
    codes = torch.tensor([[3, 9], [200, 7]])
    full = small_tokenizer.decode(embeddings, codes)
    half = small_tokenizer.decode(stored, codes)
    assert (full != half).float().mean() < 0.01


def test_decode_at_another_size(small_tokenizer, image):
    codes = torch.tensor([[3, 9]])
    assert small_tokenizer.decode(image, codes, size=(33, 57)).shape == (1, 33, 57)


def test_given_boxes_replace_those_of_the_masks(small_tokenizer, small_cases, image, masks):
    height, width = masks.shape[1:]
    scale = np.array([width, height, width, height], dtype=np.float32)
    own = small_cases["boxes_0"] * scale
    expected = small_tokenizer.encode(image, masks)
    assert torch.equal(small_tokenizer.encode(image, masks, boxes=own), expected)
    other = np.tile(np.float32([0, 0, width - 1, height - 1]), (len(masks), 1))
    assert not torch.equal(small_tokenizer.encode(image, masks, boxes=other), expected)
    with pytest.raises(ValueError, match="boxes have shape"):
        small_tokenizer.encode(image, masks, boxes=own[:1])


def test_bad_input_is_named(small_tokenizer, image, masks):
    with pytest.raises(InputError):
        small_tokenizer.encode(image, masks[:, :-1])
    with pytest.raises(InputError, match="mask_empty"):
        small_tokenizer.encode(image, np.zeros_like(masks))
    with pytest.raises(InputError, match="image_malformed"):
        small_tokenizer.embed(image.astype(np.float32))
    with pytest.raises(InputError, match="image_unreadable"):
        small_tokenizer.embed("no/such/image.png")
    for bad in ([[256, 0]], [[-1, 0]], [[0, -2]]):
        with pytest.raises(ValueError, match=r"0\.\.255"):
            small_tokenizer.decode(image, bad)
    with pytest.raises(ValueError, match="shape"):
        small_tokenizer.decode(image, [[1, 2, 3]])


def test_an_empty_mask_with_a_box_is_encoded(small_tokenizer, image, masks):
    codes = small_tokenizer.encode(
        image, np.zeros_like(masks[:1]), boxes=np.float32([[1, 2, 30, 40]])
    )
    assert codes.shape == (1, 2)


def test_save_and_load_round_trip(small_tokenizer, image, masks, tmp_path):
    folder = small_tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    loaded = SAMTok.from_pretrained(folder, device="cpu")
    assert loaded.fingerprint == small_tokenizer.fingerprint
    assert torch.equal(loaded.encode(image, masks), small_tokenizer.encode(image, masks))


@pytest.mark.parametrize("padding_row", [True, False])
def test_published_file_loads(small_tokenizer, image, masks, tmp_path, padding_row):
    weights = published_state_dict(small_tokenizer.network)
    if not padding_row:
        weights = {
            k: v[:-1] if k.startswith("quantizer") and k.endswith(".weight") else v
            for k, v in weights.items()
        }
    path = tmp_path / "mask_tokenizer_256x2.pth"
    torch.save(weights, path)
    loaded = SAMTok.from_pretrained(path, config=small_tokenizer.config, device="cpu")
    assert torch.equal(loaded.encode(image, masks), small_tokenizer.encode(image, masks))
    assert (loaded.fingerprint == small_tokenizer.fingerprint) == padding_row


def test_published_file_of_a_named_size_needs_no_config(tmp_path):
    tiny = SAMTok.from_pretrained("tiny", device="cpu")
    path = tmp_path / "weights.pth"
    torch.save(published_state_dict(tiny.network), path)
    assert SAMTok.from_pretrained(path, device="cpu").fingerprint == tiny.fingerprint


def test_pickled_code_is_refused(tmp_path, small_tokenizer):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trapped"), "w"))

    path = tmp_path / "evil.pth"
    torch.save({"weights": Trap()}, path)
    with pytest.raises(CheckpointError, match=r"refused|cannot be read"):
        SAMTok.from_pretrained(path, config=small_tokenizer.config)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match=r"refused|cannot be read"):
        SAMTok.from_pretrained(path, config=small_tokenizer.config)
    assert not (tmp_path / "trapped").exists()


def test_wrong_checkpoints_say_what_to_do(tmp_path, small_tokenizer):
    with pytest.raises(CheckpointError, match="nothing is at"):
        SAMTok.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="neither"):
        SAMTok.from_pretrained(tmp_path)
    folder = small_tokenizer.save_pretrained(tmp_path / "tokenizer")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "codebook_size": 128}))
    with pytest.raises(CheckpointError, match="does not fit"):
        SAMTok.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({**config, "codebok_size": 128}))
    with pytest.raises(CheckpointError, match="codebok_size"):
        SAMTok.from_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        SAMTok.from_pretrained(folder, config=small_tokenizer.config)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_where_there_is_none(small_tokenizer):
    with pytest.raises(ConfigError, match="no CUDA device"):
        SAMTok(small_tokenizer.network, device="cuda")


def test_bfloat16_autocast_keeps_weights_and_results_apart_from_it(small_tokenizer, image, masks):
    """The CUDA code path's dtype handling, on the CPU's bfloat16 autocast."""
    network = TokenizerNetwork(small_tokenizer.config)
    network.load_state_dict(small_tokenizer.network.state_dict())
    tokenizer = SAMTok(network, device="cpu", dtype="bfloat16")
    embeddings = tokenizer.embed(image)
    assert embeddings.fine.dtype == torch.bfloat16
    assert tokenizer.embed_masks(embeddings, masks).dtype == torch.float32
    codes = tokenizer.encode(embeddings, masks)
    assert codes.shape == (len(masks), 2)
    decoded = tokenizer.decode(embeddings, small_tokenizer.encode(image, masks))
    exact = small_tokenizer.decode(image, small_tokenizer.encode(image, masks))
    assert (decoded != exact).float().mean() < 0.1
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_starts_from_sam2_weights(tmp_path):
    """A file as SAM 2.1 is published: the public model's keys, under "model"."""
    shape = dataclasses.replace(PRESETS["tiny"], video_modules=True, num_mask_candidates=3)
    donor = SAMTok.from_config(shape, device="cpu", seed=1).network.sam2
    public = {k: v for k, v in donor.state_dict().items() if not k.startswith("sam_mask_encoder.")}
    torch.save({"model": public}, tmp_path / "sam2.pt")
    started = SAMTok.from_sam2(tmp_path / "sam2.pt", shape, device="cpu", seed=2).network.sam2
    for key, value in started.state_dict().items():
        if key.startswith("sam_mask_encoder.transformer."):
            key = key.replace("encoder", "decoder", 1)
        if key != "sam_mask_encoder.mask_tokens.weight":
            assert torch.equal(value, donor.state_dict()[key]), key
    with pytest.raises(CheckpointError, match="does not fit"):
        SAMTok.from_sam2(tmp_path / "sam2.pt", PRESETS["hiera_t"], device="cpu")


def test_backbone_fingerprint_is_that_of_what_embed_reads(small_tokenizer, image, tmp_path):
    """All other weights may change without a change of embeddings, and it does not change."""
    other = SAMTok.from_pretrained(small_tokenizer.save_pretrained(tmp_path), device="cpu")
    original, fingerprint = other.embed(image), small_tokenizer.backbone_fingerprint
    assert other.backbone_fingerprint == fingerprint

    def is_same():
        embeddings = other.embed(image)
        return all(torch.equal(getattr(embeddings, m), getattr(original, m)) for m in MAPS)

    read = ("sam2.image_encoder.", "sam2.no_mem_embed", "sam2.sam_mask_decoder.conv_s")
    weights = other.network.state_dict()
    for name, weight in weights.items():
        if not name.startswith(read):
            weight += 1
    assert is_same()
    assert other.backbone_fingerprint == fingerprint
    assert other.fingerprint != small_tokenizer.fingerprint
    for name in (
        "sam2.image_encoder.trunk.pos_embed",
        "sam2.image_encoder.neck.convs.0.conv.bias",
        "sam2.no_mem_embed",
        "sam2.sam_mask_decoder.conv_s0.bias",
        "sam2.sam_mask_decoder.conv_s1.weight",
    ):
        kept = weights[name].clone()
        weights[name] += 0.1
        assert not is_same(), name
        assert other.backbone_fingerprint != fingerprint, name
        weights[name].copy_(kept)
    assert is_same()
