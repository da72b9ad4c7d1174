import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from pipelines.serving.calls import DecodeCall, EncodeCall, Refused, SentImage
from pipelines.serving.engine import TokenizerEngine
from samtok.masks import decode_rles, encode_rle
from samtok.metrics.reconstruction import reconstruct


def send(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    content = file.getvalue()
    return SentImage(content, hashlib.sha256(content).hexdigest(), *picture.shape[:2])


def encode_call(picture, masks, *, reconstruct=False):
    return EncodeCall(send(picture), tuple(encode_rle(mask) for mask in masks), reconstruct)


@pytest.fixture
def passes(tokenizer, monkeypatch):
    """Images that went through the backbone."""
    seen = []
    embed = tokenizer.embed
    monkeypatch.setattr(tokenizer, "embed", lambda image: seen.append(image) or embed(image))
    return seen


def test_a_batch_gives_what_the_library_gives(tokenizer, scenes):
    engine = TokenizerEngine(tokenizer, cache_bytes=1 << 24)
    calls = [encode_call(picture, masks[:1]) for picture, masks in scenes]
    calls += [encode_call(picture, masks[1:], reconstruct=True) for picture, masks in scenes]
    answers = engine.run(calls)
    for (picture, masks), one, rest in zip(scenes, answers[:4], answers[4:], strict=True):
        expected = reconstruct(tokenizer, tokenizer.embed(picture), masks)
        assert [*one.codes, *rest.codes] == [tuple(pair) for pair in expected.codes.tolist()]
        assert rest.reconstruction_iou == pytest.approx(expected.iou[1:].tolist())
        assert one.reconstruction_iou is None
        assert (one.served.batch_size, one.served.cache_hit) == (8, False)
        assert rest.served.cache_hit


@pytest.mark.parametrize("size", [None, (30, 90)])
def test_decoded_masks_are_the_librarys_bit_for_bit(tokenizer, scenes, size):
    engine = TokenizerEngine(tokenizer, cache_bytes=0)
    codes = [((3, 5), (200, -1)), ((0, 255),)]
    calls = [DecodeCall(send(picture), pairs, size) for picture, _ in scenes for pairs in codes]
    for call, answer in zip(calls, engine.run(calls), strict=True):
        picture = np.asarray(Image.open(io.BytesIO(call.image.content)))
        expected = tokenizer.decode(picture, call.codes, size).numpy()
        assert np.array_equal(decode_rles(answer.masks, *expected.shape[1:]), expected)


def test_one_backbone_pass_per_image(tokenizer, passes, picture, masks):
    engine = TokenizerEngine(tokenizer, cache_bytes=1 << 24)
    engine.run([encode_call(picture, masks[n : n + 1]) for n in (0, 1, 2)])
    answer = engine.run([DecodeCall(send(picture), ((1, 2),), None)])[0]
    assert answer.served.cache_hit
    assert len(passes) == 1


def test_a_broken_image_is_refused_alone(tokenizer, passes, picture, masks):
    engine = TokenizerEngine(tokenizer, cache_bytes=1 << 24)
    good = encode_call(picture, masks)
    whole = send(255 - picture)
    cut = SentImage(whole.content[:-200], "cut", whole.height, whole.width)
    broken = [EncodeCall(cut, good.masks, False), DecodeCall(cut, ((1, 2),), None)]
    refused, answered, also = engine.run([broken[0], good, broken[1]])
    assert isinstance(refused, Refused)
    assert refused.reason == also.reason == "image_unreadable"
    assert len(answered.codes) == 3
    assert len(engine.cache) == 1


def test_embeddings_are_kept_as_far_as_there_is_room(tokenizer, passes, scenes):
    pictures = [picture for picture, _ in scenes[:3]]
    room = sum(tokenizer.embed(picture).num_bytes for picture in pictures[:2])
    passes.clear()
    engine = TokenizerEngine(tokenizer, cache_bytes=room)
    answers = [
        engine.run([DecodeCall(send(pictures[number]), ((1, 2),), None)])[0]
        for number in (0, 1, 0, 2, 0, 1)
    ]
    assert [answer.served.cache_hit for answer in answers] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    seen = [np.flatnonzero([np.array_equal(image, p) for p in pictures])[0] for image in passes]
    assert seen == [0, 1, 2, 1]
    assert engine.cache.num_bytes == room
