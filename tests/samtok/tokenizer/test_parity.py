"""The published implementation's numbers, stage by stage (tests/fixtures/parity).

Tolerances are those that the numbers came with: codes and chosen candidate exact, embeddings 5e-4,
logits 5e-3, at most 1 pixel in 5,000 different.
"""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from samtok import masks as mask_codec
from samtok.tokenizer.checkpoint import published_state_dict
from samtok.tokenizer.image_transform import resize_image
from samtok.tokenizer.network import make_mask_prompts, normalize_boxes

EMBED_TOLERANCE = 5e-4
LOGIT_TOLERANCE = 5e-3
PIXEL_TOLERANCE = 1 / 5000


@pytest.fixture(scope="module", params=["small", pytest.param("large", marks=pytest.mark.slow)])
def parity(request, parity_fixtures):
    """Tokenizer with the stand-in weights, its stored cases, and one embedding per image."""
    tokenizer = parity_fixtures.load_tokenizer(request.param)
    cases = parity_fixtures.load_cases(request.param)
    count = int(cases["n_images"])
    embeddings = [tokenizer.embed(cases[f"image_{i}"]) for i in range(count)]
    return SimpleNamespace(
        name=request.param, tokenizer=tokenizer, cases=cases, embeddings=embeddings, count=count
    )


def assert_masks_agree(actual, expected):
    assert actual.shape == expected.shape
    assert (actual != expected).mean() <= PIXEL_TOLERANCE


def concat_decoded(tokenizer, embeddings, codes):
    chunks = list(tokenizer.decode_logits(embeddings, codes))
    return [torch.cat(parts).numpy() for parts in zip(*chunks, strict=True)]


def test_keys_shapes_and_order_are_the_published_ones(parity, parity_fixtures):
    ours = published_state_dict(parity.tokenizer.network)
    expected = [(k["key"], tuple(k["shape"])) for k in parity_fixtures.keys(parity.name)]
    assert [(k, tuple(v.shape)) for k, v in ours.items()] == expected


def test_image_preprocessing(parity, parity_fixtures):
    side = parity.tokenizer.config.image_size
    for i in range(parity.count):
        resized = resize_image(parity.cases[f"image_{i}"], side)
        if parity.name == "small":
            np.testing.assert_array_equal(resized, parity.cases[f"resized_{i}"])
        else:
            assert hashlib.sha256(resized.tobytes()).hexdigest() == (
                "9fe21dd0ca1e648330633752572509bfdfc86369272beddb44d5aaa0eafe1130"
            )


def test_image_embedding(parity):
    stored = parity.cases["dbg_image_embedding_0"]
    ours = parity.embeddings[0].image[0].numpy()
    ours = ours if parity.name == "small" else ours[::8, ::4, ::4]
    np.testing.assert_allclose(ours, stored, atol=EMBED_TOLERANCE)


def test_fine_maps(parity):
    steps = {"small": ((4, 4), (8, 2)), "large": ((8, 16), (8, 8))}[parity.name]
    maps = (parity.embeddings[0].fine, parity.embeddings[0].middle)
    for level, (level_map, (channels, cells)) in enumerate(zip(maps, steps, strict=True)):
        ours = level_map[0, ::channels, ::cells, ::cells].numpy()
        np.testing.assert_allclose(
            ours, parity.cases[f"dbg_highres{level}_0"], atol=EMBED_TOLERANCE
        )


def test_boxes_and_mask_prompts(parity):
    for i in range(parity.count):
        masks = parity.cases[f"masks_{i}"]
        height, width = masks.shape[1:]
        boxes = torch.from_numpy(mask_codec.compute_boxes(masks))
        np.testing.assert_array_equal(
            normalize_boxes(boxes, height, width).numpy(), parity.cases[f"boxes_{i}"]
        )
        if parity.name == "small":
            prompts = make_mask_prompts(
                torch.from_numpy(masks), parity.tokenizer.config.low_res_size
            )
            np.testing.assert_allclose(prompts.numpy(), parity.cases[f"mask_prompt_{i}"], atol=1e-6)


def test_mask_embeddings_and_codes(parity):
    for i, embeddings in enumerate(parity.embeddings):
        masks = parity.cases[f"masks_{i}"]
        ours = parity.tokenizer.embed_masks(embeddings, masks).numpy()
        np.testing.assert_allclose(ours, parity.cases[f"embed_{i}"], atol=EMBED_TOLERANCE)
        codes = parity.tokenizer.encode(embeddings, masks)
        np.testing.assert_array_equal(codes.numpy(), parity.cases[f"codes_{i}"])
        quantized = parity.tokenizer.network.quantizer.look_up(codes).numpy()
        np.testing.assert_allclose(quantized, parity.cases[f"quant_{i}"], atol=EMBED_TOLERANCE)


@pytest.mark.parametrize("prefix", ["", "dec_"])
def test_decoding(parity, prefix):
    """Round trip (codes of the stored masks), and given codes."""
    for i, embeddings in enumerate(parity.embeddings):
        codes = parity.cases[f"{prefix}codes_{i}"]
        logits, _, predicted_iou, best = concat_decoded(parity.tokenizer, embeddings, codes)
        np.testing.assert_array_equal(best, parity.cases[f"{prefix}best_{i}"])
        np.testing.assert_allclose(
            predicted_iou, parity.cases[f"{prefix}iou3_{i}"], atol=LOGIT_TOLERANCE
        )
        np.testing.assert_allclose(
            logits, parity.cases[f"{prefix}logits_{i}"], atol=LOGIT_TOLERANCE
        )
        final = parity.tokenizer.decode(embeddings, codes).numpy()
        assert_masks_agree(final, parity.cases[f"{prefix}final_{i}"])


def test_candidate_masks(parity):
    codes = parity.cases["codes_0"]
    _, candidates, _, _ = concat_decoded(parity.tokenizer, parity.embeddings[0], codes)
    step = 1 if parity.name == "small" else 2
    stored = parity.cases["dbg_multi_0"].astype(np.float32)  # kept as float16
    np.testing.assert_allclose(
        candidates[0][:, ::step, ::step], stored, atol=LOGIT_TOLERANCE, rtol=1e-3
    )


def test_missing_second_code_decodes_from_the_first_alone(parity):
    """And on purpose not as the published code does, which takes it for code 0."""
    for i, embeddings in enumerate(parity.embeddings):
        if f"miss_codes_{i}" not in parity.cases:
            continue
        codes = parity.cases[f"miss_codes_{i}"]
        before = codes.copy()
        logits, _, _, best = concat_decoded(parity.tokenizer, embeddings, codes)
        np.testing.assert_array_equal(codes, before)
        np.testing.assert_array_equal(best, parity.cases[f"miss_first_only_best_{i}"])
        np.testing.assert_allclose(
            logits, parity.cases[f"miss_first_only_logits_{i}"], atol=LOGIT_TOLERANCE
        )
        final = parity.tokenizer.decode(embeddings, codes).numpy()
        assert_masks_agree(final, parity.cases[f"miss_first_only_final_{i}"])

        as_zero = np.where(codes == -1, 0, codes)
        published = parity.tokenizer.decode(embeddings, as_zero).numpy()
        assert_masks_agree(published, parity.cases[f"miss_ref_final_{i}"])
        assert (final != published).any()
