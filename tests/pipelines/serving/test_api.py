"""The service over HTTP, in this process: answers, and every limit crossed."""

import asyncio
import base64
import hashlib
import io
import json
import logging
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from samtok.masks import compute_boxes, decode_rle, decode_segmentation
from samtok.tokenizer.box_masks import find_masks_in_boxes
from samtok.tokenizer.point_masks import find_mask_at_points
from samtok.words import format_codes
from tests.pipelines.serving.conftest import HEIGHT, WIDTH, as_png, as_rle

WORD = "<|mt_0001|>"
TEN_BY_TEN = {"text": WORD, "size": [10, 10]}
KEY = "a-key-of-sixteen-or-more"


def refusal(answer):
    """Status and code of an error, its form checked."""
    error = answer.json()["error"]
    assert set(error) == {"type", "message", "code"}
    assert answer.headers["x-request-id"]
    return answer.status_code, error["code"]


@pytest.fixture
def body(picture, masks):
    return {"image": as_png(picture), "masks": [as_rle(mask) for mask in masks]}


def test_words_are_the_librarys_whatever_the_form_of_the_masks(
    serve, tokenizer, picture, masks, body
):
    client = serve()
    expected = format_codes(tokenizer.encode(picture, masks))
    block = {"polygons": [[8, 5, 30, 5, 30, 20, 8, 20]]}
    forms = [block, {"png": as_png(masks[1])}, {"png": as_png(masks[2].astype(np.uint8) * 255)}]
    for sent in (body["masks"], forms):
        image = f"data:image/png;base64,{body['image']}"
        answer = client.post("/v1/encode", json={"image": image, "masks": sent})
        assert answer.status_code == 200, answer.text
        assert [mask["words"] for mask in answer.json()["masks"]] == expected
    got = answer.json()
    assert got["tokenizer"] == tokenizer.fingerprint
    assert got["image"] == {
        "sha256": hashlib.sha256(base64.b64decode(body["image"])).hexdigest(),
        "height": HEIGHT,
        "width": WIDTH,
    }
    assert [(m["box"], m["area"]) for m in got["masks"]] == [
        ([8, 5, 29, 19], 330),
        ([20, 10, 49, 37], 660),
        ([0, 0, 55, 39], 156),
    ]


def test_equal_masks_collide_and_reconstruction_comes_on_request(serve, body):
    body["masks"].append(body["masks"][0])
    got = serve().post("/v1/encode", json={**body, "reconstruct": True}).json()["masks"]
    assert got[0]["collides"]
    assert got[0]["words"] == got[3]["words"]
    assert all(0 <= mask["reconstruction_iou"] <= 1 for mask in got)


def test_boxes_become_masks_and_these_words(serve, tokenizer, scenes):
    picture, masks = scenes[0]
    boxes = compute_boxes(masks).astype(int)
    sent = [[x0, y0, x1 + 0.3, y1] for x0, y0, x1, y1 in boxes.tolist()]
    body = {"image": as_png(picture), "boxes": sent, "reconstruct": True}
    got = serve().post("/v1/encode", json=body).json()["masks"]
    expected = find_masks_in_boxes(tokenizer, tokenizer.embed(picture), boxes)
    assert np.array_equal([decode_rle(mask["mask"]["rle"]) for mask in got], expected)
    assert [m["words"] for m in got] == format_codes(tokenizer.encode(picture, expected))
    assert all(0 < mask["reconstruction_iou"] <= 1 for mask in got)
    png = serve().post("/v1/encode", json={**body, "format": "png"}).json()["masks"][0]["mask"]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(png["png"]))))
    assert np.array_equal(shown, expected[0])


def test_points_become_masks_and_these_words(serve, tokenizer, scenes):
    picture, masks = scenes[0]
    embeddings = tokenizer.embed(picture)
    things, expected = [], []
    for mask in masks[:2]:
        (y, x), (y_out, x_out) = np.argwhere(mask)[0], np.argwhere(~mask)[-1]
        points = [(x, y, True), (x_out, y_out, False)]
        things.append([{"x": x + 0.4, "y": y + 0.4, "inside": inside} for x, y, inside in points])
        things[-1][0].pop("inside")  # what is said by default
        xy, inside = np.array([[x, y], [x_out, y_out]]), np.array([True, False])
        expected.append(find_mask_at_points(tokenizer, embeddings, xy, inside))
    body = {"image": as_png(picture), "points": things}
    got = serve().post("/v1/encode", json=body).json()["masks"]
    assert np.array_equal([decode_rle(mask["mask"]["rle"]) for mask in got], expected)
    assert [m["words"] for m in got] == format_codes(tokenizer.encode(picture, np.array(expected)))


@pytest.mark.parametrize(
    ("regions", "code"),
    [
        ({"boxes": [[5, 5, 4, 9]]}, "box_malformed"),
        ({"boxes": [[WIDTH, 0, WIDTH + 9, 9]]}, "box_outside_image"),
        ({"boxes": [[0, 0, 9]]}, "body_malformed"),
        ({"boxes": [[-1, 0, 9, 9]]}, "body_malformed"),
        ({"boxes": [[0, 0, 9, 9]] * 4}, "too_many_masks"),
        ({"points": [[{"x": WIDTH, "y": 4}]]}, "point_outside_image"),
        ({"points": [[{"x": -1, "y": 4}]]}, "body_malformed"),
        ({"points": [[]]}, "body_malformed"),
        ({"points": [[{"x": 3, "y": 4, "inside": False}]]}, "points_all_outside"),
        ({"points": [[{"x": 3, "y": 4}]] * 4}, "too_many_masks"),
        ({"points": [[{"x": 3, "y": 4}] * 3]}, "too_many_points"),
        ({"points": [[{"x": 3, "y": 4}]], "boxes": [[0, 0, 9, 9]]}, "body_malformed"),
        ({}, "body_malformed"),
    ],
)
def test_boxes_and_points_that_are_refused(serve, body, regions, code):
    answer = serve(max_masks=3, max_points=2).post(
        "/v1/encode", json={"image": body["image"], **regions}
    )
    assert refusal(answer) == (422, code)


@pytest.mark.parametrize("form", ["rle", "polygons", "png"])
def test_every_form_gives_the_librarys_mask(serve, tokenizer, scenes, form):
    picture, masks = scenes[0]
    codes = tokenizer.encode(picture, masks)
    request = {"image": as_png(picture), "words": format_codes(codes), "format": form}
    got = serve().post("/v1/decode", json=request).json()["masks"]
    expected = tokenizer.decode(picture, codes).numpy()
    assert expected.any(axis=(1, 2)).all()
    for mask, true in zip(got, expected, strict=True):
        assert [name for name, value in mask["mask"].items() if value is not None] == [form]
        sent = mask["mask"][form]
        if form == "png":
            shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(sent))))
        else:
            shown = decode_segmentation(sent, *true.shape)
        assert np.array_equal(shown, true)
        rows, columns = np.flatnonzero(true.any(1)), np.flatnonzero(true.any(0))
        assert mask["box"] == [columns[0], rows[0], columns[-1], rows[-1]]
        assert mask["area"] == true.sum()


def test_texts_are_searched_and_damaged_masks_named(serve, tokenizer, picture, body):
    text = "a <|mt_start|><|mt_0003|><|mt_0261|><|mt_end|> b <|mt_start|><|mt_end|>"
    text += " c <|mt_start|><|mt_0200|>"
    request = {"image": body["image"], "text": text, "size": [20, 70]}
    got = serve().post("/v1/decode", json=request).json()["masks"]
    assert [mask["status"] for mask in got] == ["well_formed", "rejected", "repaired"]
    assert [mask["codes"] for mask in got] == [[3, 5], None, [200, -1]]
    assert text[got[0]["start"] : got[0]["end"]].endswith("<|mt_0261|><|mt_end|>")
    assert got[1]["mask"] is None
    assert got[1]["area"] is None
    expected, sure = tokenizer.decode_with_confidence(picture, [(3, 5), (200, -1)], (20, 70))
    expected = expected.numpy()
    assert [got[0]["confidence"], got[2]["confidence"]] == pytest.approx(sure.tolist())
    assert got[1]["confidence"] is None
    shown = [decode_rle(got[n]["mask"]["rle"]) for n in (0, 2)]
    assert np.array_equal(np.stack(shown), expected)


def test_models_probes_and_figures(serve, tokenizer, body):
    client = serve()
    model = client.get("/v1/models").json()["data"][0]
    assert (model["id"], model["fingerprint"]) == ("tiny", tokenizer.fingerprint)
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    for _ in range(3):
        client.post("/v1/encode", json=body)
    figures = client.get("/metrics").text
    assert 'samtok_requests_total{path="/v1/encode",status="200"} 3.0' in figures
    assert 'samtok_embedding_cache_total{result="hit"} 2.0' in figures
    assert 'samtok_embedding_cache_total{result="miss"} 1.0' in figures
    assert "samtok_batch_size_count 3.0" in figures


def _header_only_png(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    content += struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT"
    return base64.b64encode(content + struct.pack(">I", zlib.crc32(b"IDAT"))).decode()


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (_header_only_png(60_000, 60_000), "image_too_large"),
        (_header_only_png(5_000, 5_000), "image_too_large"),
        ("http://169.254.169.254/latest/meta-data", "image_url_refused"),
        ("file:///etc/passwd", "image_url_refused"),
        ("data:image/svg+xml,<svg/>", "image_url_refused"),
        ("not base64!", "image_not_base64"),
        (
            base64.b64encode(b"<svg width='8' height='8'/>").decode(),
            "image_unreadable",
        ),
        (base64.b64encode(b"GIF89a" + bytes(20)).decode(), "image_unreadable"),
        (f"data:image/jpeg;base64,{_header_only_png(8, 8)}", "image_type_mismatch"),
        ("", "body_malformed"),
    ],
)
def test_images_that_are_refused(serve, backend, body, image, code):
    answer = serve().post("/v1/encode", json={**body, "image": image})
    assert refusal(answer) == (422, code)
    assert backend.calls == []


SQUARE = [1.0, 1.0, 9.0, 1.0, 9.0, 9.0]


@pytest.mark.parametrize(
    ("mask", "code"),
    [
        ({"rle": {"size": [HEIGHT, WIDTH], "counts": [1, 2, 3]}}, "rle_counts_sum"),
        ({"rle": {"size": [HEIGHT, WIDTH], "counts": [10**12]}}, None),
        ({"rle": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}}, "mask_empty"),
        ({"rle": {"size": [WIDTH, HEIGHT], "counts": [0, HEIGHT * WIDTH]}}, "rle_size_mismatch"),
        ({"rle": {"size": [10**9, 10**9], "counts": [0]}}, "body_malformed"),
        ({"polygons": [[1, 1, 2, 2]]}, "polygon_too_few_points"),
        ({"polygons": [[500, 500, 600, 500, 600, 600]]}, "polygon_outside_image"),
        ({"polygons": []}, "segmentation_empty"),
        ({"polygons": [SQUARE], "png": "aaaa"}, "body_malformed"),
        ({}, "body_malformed"),
        ({"png": as_png(np.full((4, 4), 255, np.uint8))}, "mask_size_mismatch"),
        ({"png": as_png(np.full((HEIGHT, WIDTH), 7, np.uint8))}, "bitmap_malformed"),
        ({"png": as_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))}, "bitmap_malformed"),
        ({"png": "https://example.org/mask.png"}, "mask_url_refused"),
    ],
)
def test_masks_that_are_refused(serve, backend, body, mask, code):
    answer = serve().post("/v1/encode", json={**body, "masks": [body["masks"][0], mask]})
    status, got = refusal(answer)
    assert status == 422
    assert got == code or code is None
    assert backend.calls == []


def test_numbers_that_are_none_are_refused(serve, body):
    sent = json.dumps({**body, "masks": [{"polygons": [[*SQUARE[:-1], float("nan")]]}]})
    answer = serve().post("/v1/encode", content=sent, headers={"Content-Type": "application/json"})
    assert refusal(answer)[0] == 422


@pytest.mark.parametrize(
    ("limits", "path", "changes", "status", "code"),
    [
        ({"max_request_bytes": 2000}, "encode", {}, 413, "request_too_large"),
        ({"max_image_pixels": HEIGHT * WIDTH - 1}, "encode", {}, 422, "image_too_large"),
        ({"max_masks": 2}, "encode", {}, 422, "too_many_masks"),
        ({"max_mask_pixels": 3 * HEIGHT * WIDTH - 1}, "encode", {}, 422, "masks_too_large"),
        ({"max_masks": 1}, "decode", {"text": f"{WORD} and {WORD}"}, 422, "too_many_masks"),
        ({"max_mask_pixels": 99}, "decode", TEN_BY_TEN, 422, "masks_too_large"),
        ({"max_text_characters": 9}, "decode", {"text": WORD}, 422, "text_too_long"),
        ({"max_text_characters": 9}, "decode", {"words": [WORD]}, 422, "text_too_long"),
    ],
)
def test_limits_are_crossed(serve, body, limits, path, changes, status, code):
    sent = body if path == "encode" else {"image": body["image"], **changes}
    answer = serve(**limits).post(f"/v1/{path}", json=sent)
    assert refusal(answer) == (status, code)


def test_just_within_the_limits_is_served(serve, body):
    size = len(json.dumps(body, separators=(",", ":")))
    client = serve(
        max_request_bytes=size + 1000,
        max_image_pixels=HEIGHT * WIDTH,
        max_masks=3,
        max_mask_pixels=3 * HEIGHT * WIDTH,
    )
    assert client.post("/v1/encode", json=body).status_code == 200


def test_a_body_without_a_declared_length_is_counted(serve):
    pieces = (b"x" * 1000 for _ in range(100_000))
    answer = serve(max_request_bytes=5000).post("/v1/encode", content=pieces)
    assert refusal(answer) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["<|mt_start|><|mt_end|>"], "entry 0"),
        ([WORD, f"{WORD} and {WORD}"], "entry 1 of words holds 2 masks"),
        (["x"], "0 masks"),
    ],
)
def test_words_are_one_mask_each(serve, body, words, message):
    answer = serve().post("/v1/decode", json={"image": body["image"], "words": words})
    assert refusal(answer) == (422, "words_unreadable")
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"--x\r\nContent-Disposition: form-data\r\n", "multipart/form-data; boundary=x"),
        (b"", "application/json"),
        (b'{"image": "aGk=", "masks": [], "more": 1}', "application/json"),
    ],
)
def test_bodies_that_are_no_request_are_refused(serve, content, kind):
    answer = serve().post("/v1/encode", content=content, headers={"Content-Type": kind})
    status, code = refusal(answer)
    assert (status, code) in {(422, "body_malformed"), (400, "body_malformed")}


def test_unknown_paths_and_methods(serve):
    assert refusal(serve().get("/v1/other")) == (404, "not_found")
    assert refusal(serve().get("/v1/encode")) == (405, "method_not_allowed")


def test_keys_guard_everything_but_the_probes(serve, body):
    client = serve(key_digests=[hashlib.sha256(KEY.encode()).hexdigest()])
    for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
        assert refusal(client.get(path)) == (401, "invalid_api_key")
    assert refusal(client.post("/v1/encode", json=body)) == (401, "invalid_api_key")
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    allowed = client.post("/v1/encode", json=body, headers={"Authorization": f"Bearer {KEY}"})
    assert allowed.status_code == 200


def test_too_many_calls_of_a_client_wait(serve):
    client = serve(requests_per_minute=2, burst=2)
    assert [client.get("/v1/models").status_code for _ in range(2)] == [200, 200]
    answer = client.get("/v1/models")
    assert refusal(answer) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert client.get("/healthz").status_code == 200


def test_more_calls_than_may_wait_are_turned_away(serve, backend, body):
    entered, leave = threading.Event(), threading.Event()
    encode = backend.encode

    async def slow(call):
        entered.set()
        await asyncio.to_thread(leave.wait, 30)
        return await encode(call)

    backend.encode = slow
    statuses = []
    with serve(max_pending=1) as client:
        first = threading.Thread(
            target=lambda: statuses.append(client.post("/v1/encode", json=body).status_code)
        )
        first.start()
        assert entered.wait(30)
        answer = client.post("/v1/encode", json=body)
        assert refusal(answer) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        leave.set()
        first.join()
        assert statuses == [200]
        backend.encode = encode
        assert client.post("/v1/encode", json=body).status_code == 200


def test_a_call_that_takes_too_long_is_given_up(serve, backend, body):
    async def forever(call):
        await asyncio.Event().wait()

    backend.encode = forever
    client = serve(max_call_seconds=0.2)
    answer = client.post("/v1/encode", json=body)
    assert refusal(answer) == (504, "timed_out")
    assert "retry-after" in answer.headers


def test_request_ids_come_back_and_odd_ones_are_replaced(serve):
    client = serve()
    given = client.get("/healthz", headers={"X-Request-Id": "my-call.7"})
    assert given.headers["x-request-id"] == "my-call.7"
    odd = client.get("/healthz", headers={"X-Request-Id": "a b\tc" + "x" * 80})
    assert odd.headers["x-request-id"] not in ("", "a b\tc" + "x" * 80)


def test_nothing_of_a_body_is_logged_even_when_the_service_fails(serve, backend, body, caplog):
    async def fail(call):
        raise RuntimeError("no luck")

    caplog.set_level(logging.DEBUG)
    client = serve()
    client.post("/v1/encode", json=body)
    client.post("/v1/encode", json={**body, "masks": [{"polygons": [[123.25, 1]]}]})
    client.post("/v1/encode", json={**body, "masks": "secret-text"})
    backend.encode = fail
    answer = client.post("/v1/encode", json=body)
    assert refusal(answer) == (500, "internal_error")
    assert "luck" not in answer.text
    assert len([r for r in caplog.records if r.name == "samtok.serving"]) == 5
    for secret in (body["image"][40:80], "123.25", "secret-text"):
        assert secret not in caplog.text
