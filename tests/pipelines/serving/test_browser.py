"""The page in a real headless browser, against the service over a real socket."""

import base64
import contextlib
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from pipelines.serving.api import ApiSettings, build_app
from pipelines.serving.engine import TokenizerEngine
from pipelines.serving.limits import Limits
from samtok.masks import decode_rle, encode_rle
from samtok.tokenizer.box_masks import find_masks_in_boxes
from samtok.tokenizer.point_masks import find_mask_at_points
from samtok.words import format_codes
from tests.pipelines.serving.browsing import Picture, open_browser, open_page
from tests.pipelines.serving.conftest import LocalChatModel, LocalTokenizer, listening
from tests.small_mllm import saying

pytestmark = pytest.mark.slow

KEY = "a-key-of-sixteen-or-more"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def start(tokenizer):
    """Starts a service with the given settings; gives its address."""
    with contextlib.ExitStack() as services:

        def start_one(chat_model=None, **settings):
            backend = LocalTokenizer(TokenizerEngine(tokenizer, cache_bytes=1 << 24))
            app = build_app(ApiSettings(model_id="tiny", **settings), backend, chat_model)
            return services.enter_context(listening(app)) + "/"

        yield start_one


@pytest.fixture(scope="module")
def address(start):
    return start()


@pytest.fixture
def page(browser, address):
    with open_page(browser, address) as opened:
        yield opened


@pytest.fixture(scope="module")
def scene(scenes):
    """A picture, and its largest mask with the box around it."""
    picture, masks = scenes[0]
    mask = masks[masks.sum(axis=(1, 2)).argmax()]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return picture, mask, (columns[0], rows[0], columns[-1], rows[-1])


def expect(locator):
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    return expect(locator)


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def changed(before, after):
    return (np.abs(before.astype(int) - after).max(axis=2)) > 8


def test_a_box_becomes_two_words_and_its_rebuilt_mask_is_seen(page, tokenizer, scene):
    image, _, (x0, y0, x1, y1) = scene
    picture = Picture(page, image)
    before = picture.see()
    picture.drag((x0, y0), (x1, y1))
    row = page.locator("#regions li")
    expect(row).to_have_count(1)

    found = find_masks_in_boxes(tokenizer, tokenizer.embed(image), np.array([[x0, y0, x1, y1]]))
    codes = tokenizer.encode(image, found)
    assert row.locator(".words").get_attribute("title") == format_codes(codes)[0]
    expect(row.locator(".facts")).to_contain_text("found in a box · IoU 0.")
    rebuilt = tokenizer.decode(image, codes).numpy()[0]
    assert overlap(changed(before, picture.see()), rebuilt) > 0.95
    page.get_by_label("as put in").check()
    assert overlap(changed(before, picture.see()), found[0]) > 0.95
    page.get_by_label("Show region 1").uncheck()
    assert not changed(before, picture.see()).any()


def test_painting_erasing_and_undoing_give_the_mask_that_is_encoded(page, scene, scenes):
    picture = Picture(page, scene[0])
    before = picture.see()
    page.locator("#canvas").press("p")
    picture.drag((20, 20), (90, 20))
    painted = changed(before, picture.see())
    assert painted[20, 20:91].all()
    assert not painted[40:].any()
    picture.drag((20, 60), (90, 60))
    page.keyboard.press("Control+z")
    page.keyboard.press("e")
    picture.drag((55, 10), (55, 30))
    wiped = changed(before, picture.see())
    assert not wiped[:, 55].any()
    assert not wiped[40:].any()
    page.keyboard.press("Enter")
    expect(page.locator("#regions li")).to_have_count(1)
    expect(page.locator(".facts")).to_contain_text("painted")
    page.get_by_label("as put in").check()
    assert overlap(changed(before, picture.see()), wiped) > 0.9


def test_points_find_a_mask_that_more_of_them_improve(page, tokenizer, scene):
    image, mask, _ = scene
    y, x = np.argwhere(mask)[mask.sum() // 2].tolist()
    y_out, x_out = np.argwhere(~mask)[0].tolist()

    picture = Picture(page, image)
    page.locator("#canvas").press("x")
    picture.click(x_out, y_out)
    expect(page.locator("#status")).to_have_text("First click on the thing itself, with Point.")
    clicks = [(x, y, True), (x_out, y_out, False)]
    for count, key in enumerate("cx", start=1):
        page.keyboard.press(key)
        with page.expect_request("**/v1/encode") as sent:
            picture.click(*clicks[count - 1][:2])
        expect(page.locator("#status")).to_contain_text("Add or exclude points")
        points = [dict(zip(("x", "y", "inside"), click, strict=True)) for click in clicks[:count]]
        assert sent.value.post_data_json["points"] == [points]
    page.keyboard.press("Control+z")
    page.keyboard.press("Enter")
    row = page.locator("#regions li")
    expect(row).to_have_count(1)
    expect(row.locator(".facts")).to_contain_text("found at points")
    one = find_mask_at_points(
        tokenizer, tokenizer.embed(image), np.array([[x, y]]), np.array([True])
    )
    codes = tokenizer.encode(image, one[None])
    assert row.locator(".words").get_attribute("title") == format_codes(codes)[0]


def test_a_box_without_a_mouse(page, scene):
    Picture(page, scene[0])
    page.locator("#canvas").focus()
    with page.expect_request("**/v1/encode") as sent:
        for key in (*("ArrowLeft", "ArrowUp", " "), *("ArrowRight", "ArrowRight"), "ArrowDown"):
            page.keyboard.press(key)
        page.keyboard.press("Shift+ArrowDown")
        page.keyboard.press(" ")
    # From the middle, steps of 1/64 of the side, then of a pixel.
    assert sent.value.post_data_json["boxes"] == [[62, 62, 66, 65]]
    expect(page.locator("#regions li")).to_have_count(1)
    page.get_by_label("Region 1", exact=True).focus()
    page.keyboard.press("Delete")
    expect(page.locator("#regions li")).to_have_count(0)


def test_pasted_words_are_masks_and_damaged_ones_are_counted(page, tokenizer, scene):
    image, mask, _ = scene
    picture = Picture(page, image)
    before = picture.see()
    codes = tokenizer.encode(image, mask[None])
    words = format_codes(codes)[0]
    page.get_by_text("Words → masks").click()
    page.fill("#words", f"🙂 here: {words} and <|mt_start|><|mt_end|>")
    page.get_by_role("button", name="Show masks").click()
    expect(page.locator("#regions li")).to_have_count(1)
    expect(page.locator("#status")).to_have_text("1 of 2 masks shown. 1 could not be read.")
    assert page.locator(".words").get_attribute("title") == words
    rebuilt = tokenizer.decode(image, codes).numpy()[0]
    assert overlap(changed(before, picture.see()), rebuilt) > 0.95


def test_what_is_saved(page, tokenizer, scene):
    image, _, (x0, y0, x1, y1) = scene
    picture = Picture(page, image)
    picture.drag((x0, y0), (x1, y1))
    expect(page.locator("#regions li")).to_have_count(1)
    page.get_by_label("as put in").check()

    def save(name):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        assert download.value.suggested_filename.startswith("scene-")
        return np.asarray(Image.open(download.value.path()))

    inside = find_masks_in_boxes(tokenizer, tokenizer.embed(image), np.array([[x0, y0, x1, y1]]))[0]
    mask = save("Mask")
    assert np.array_equal(mask[..., 0], np.where(inside, 255, 0))
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    around = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cutout = save("Cut-out")
    assert np.array_equal(cutout[..., 3], np.where(inside, 255, 0)[around])
    assert np.array_equal(cutout[cutout[..., 3] > 0][:, :3], image[inside])
    redacted = save("Blurred copy")[..., :3]
    assert np.array_equal(redacted[~inside], image[~inside])
    # What a face or a plate is told by, differences between neighbours, is gone.
    sharp, soft = (
        np.abs(np.diff(a[inside].astype(float), axis=0)).mean() for a in (image, redacted)
    )
    assert soft < sharp / 3


def test_a_key_is_asked_for_and_kept_in_the_tab_only(browser, start, scene):
    address = start(key_digests=(hashlib.sha256(KEY.encode()).hexdigest(),))
    with open_page(browser, address) as page:
        expect(page.locator("#problem")).to_contain_text("Enter a valid API key")
        expect(page.locator("#key")).to_be_focused()
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#service")).to_have_text("Serving tiny")
        page.reload()
        expect(page.locator("#service")).to_have_text("Serving tiny")
        assert page.evaluate("localStorage.length + document.cookie.length") == 0


def test_a_refusal_says_why_and_keeps_what_was_drawn(browser, start, scene):
    address = start(limits=Limits(max_image_pixels=100))
    with open_page(browser, address) as page:
        picture = Picture(page, scene[0])
        picture.drag((10, 10), (60, 60))
        expect(page.locator("#problem")).to_have_text(
            "The image is 128 x 128; at most 100 pixels are read. Choose a smaller picture."
        )
        expect(page.locator("#regions li")).to_have_count(0)
        expect(page.get_by_role("button", name="Make words")).to_be_enabled()


def test_what_is_no_picture_is_refused(page):
    page.set_input_files(
        "#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    expect(page.locator("#problem")).to_contain_text("notes.png is no picture")


def test_a_photograph_taken_sideways_is_sent_upright(page, tokenizer):
    stored = np.zeros((40, 64, 3), np.uint8)
    stored[:, :32] = 255
    photograph = Image.fromarray(stored)
    tags = photograph.getexif()
    tags[0x0112] = 6  # to be turned by 90 degrees clockwise
    file = io.BytesIO()
    photograph.save(file, format="JPEG", exif=tags)
    page.set_input_files(
        "#file", {"name": "phone.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}
    )
    expect(page.locator("#status")).to_contain_text("Turned upright.")
    with page.expect_request("**/v1/encode") as sent:
        page.locator("#canvas").press(" ")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        page.keyboard.press(" ")
    body = sent.value.post_data_json
    upright = Image.open(io.BytesIO(base64.b64decode(body["image"].partition(",")[2])))
    assert (upright.size, upright.getexif().get(0x0112)) == ((40, 64), None)
    pixels = np.asarray(upright.convert("L"))
    assert pixels[:28].min() > 200
    assert pixels[36:].max() < 55
    expect(page.locator("#regions li")).to_have_count(1)


def test_a_finger_draws_on_a_phone(browser, address, scene):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with open_page(browser, address, **phone) as page:
        picture = Picture(page, scene[0])
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        touch = page.context.new_cdp_session(page)

        def send(kind, *point):
            points = [dict(zip("xy", picture.place(*point), strict=True))] if point else []
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        send("touchStart", 20, 20)
        send("touchMove", 60, 50)
        send("touchMove", 80, 70)
        send("touchEnd")
        expect(page.locator("#regions li")).to_have_count(1)
        assert page.evaluate("scrollY") == 0


def test_run_lengths_are_cocos(page):
    masks = (
        np.random.default_rng(0).random((3, 37, 53)) < np.array([0.5, 0.02, 0.98])[:, None, None]
    )
    masks = np.concatenate([masks, np.zeros((1, 37, 53), bool), np.ones((1, 37, 53), bool)])
    for mask in masks:
        counts = encode_rle(mask)["counts"]
        flat, runs = page.evaluate(
            """async ({counts, height, width}) => {
                const {parseCounts, runsToBitmap, bitmapToRuns} = await import("/web/rle.js");
                const bitmap = runsToBitmap(parseCounts(counts), height, width);
                return [Array.from(bitmap), bitmapToRuns(bitmap, height, width)];
            }""",
            {"counts": counts, "height": 37, "width": 53},
        )
        assert np.array_equal(np.array(flat, bool).reshape(mask.shape), mask)
        assert np.array_equal(decode_rle({"size": [37, 53], "counts": runs}), mask)


def test_runs_that_do_not_fit_are_refused(page):
    for runs in ([5], [3, 9], [2, -1, 5]):
        assert (
            page.evaluate(
                """async (runs) => {
                const {runsToBitmap} = await import("/web/rle.js");
                try { runsToBitmap(runs, 2, 3); } catch (error) { return error.name; }
            }""",
                runs,
            )
            == "RangeError"
        )


# Chat

MOON, HAT = format_codes([(144, 65), (138, 173)])
ANSWER = f"Naïve 🙂: <|object_ref_start|>the moon<|object_ref_end|>{MOON}, {HAT} & <b>."


@pytest.fixture(scope="module")
def chat_model(mllm):
    return LocalChatModel(mllm)


@pytest.fixture(scope="module")
def chat_address(start, chat_model):
    return start(chat_model=chat_model, chat_model_id="small")


@pytest.fixture
def chat_page(browser, chat_address):
    with open_page(browser, chat_address) as opened:
        yield opened


def test_an_answer_is_streamed_and_its_masks_are_linked_to_its_words(
    chat_page, chat_model, mllm, tokenizer, scene
):
    page, (image, _, (x0, y0, x1, y1)) = chat_page, scene
    picture = Picture(page, image)
    before = picture.see()
    picture.drag((x0, y0), (x1, y1))
    words = page.locator("#regions .words").get_attribute("title")
    page.get_by_label("Show region 1").uncheck()
    page.locator("#question").press_sequentially("What is  and where?")
    for _ in " and where?":
        page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Ask about region 1").click()
    with saying(mllm, ANSWER):
        page.locator("#question").press("Enter")
        expect(page.locator(".turn:not(.mine) .chip")).to_have_count(2)
    (message,) = chat_model.calls[-1].messages
    assert message.content == f"What is {words}  and where?"
    said = page.locator(".turn:not(.mine) .said")
    expect(said).to_have_text("Naïve 🙂: the moon2, 3 & <b>.")

    rebuilt = tokenizer.decode(image, [(144, 65), (138, 173)]).numpy()
    assert overlap(changed(before, picture.see()), rebuilt.any(0)) > 0.95
    unlit = picture.see()
    for lit, linked in ((0, said.locator(".phrase")), (1, said.locator(".chip").last)):
        linked.hover()
        dimmed = changed(unlit, picture.see(still=True))
        assert not dimmed[rebuilt[lit] & ~rebuilt[1 - lit]].any()
        assert dimmed[rebuilt[1 - lit] & ~rebuilt[lit]].mean() > 0.9
    expect(page.locator("#regions .facts").nth(1)).to_have_text("the moon · from an answer")


def test_a_conversation_goes_on_and_begins_anew(chat_page, chat_model, mllm, scene):
    page = chat_page
    Picture(page, scene[0])
    for question in ("One?", "Two?"):
        page.locator("#question").fill(question)
        with saying(mllm, f"Yes {HAT}"):
            page.get_by_role("button", name="Ask", exact=True).click()
            expect(page.locator(".turn:not(.mine):not([aria-busy])")).to_have_count(
                1 if question == "One?" else 2
            )
    roles_and_texts = [(m.role, m.content) for m in chat_model.calls[-1].messages]
    assert roles_and_texts == [("user", "One?"), ("assistant", f"Yes {HAT}"), ("user", "Two?")]
    expect(page.locator("#regions li")).to_have_count(1)  # the same words are the same region
    page.get_by_role("button", name="Begin anew").click()
    expect(page.locator(".turn")).to_have_count(0)


def test_a_question_that_fails_is_there_again(browser, start, chat_model, scene):
    address = start(
        chat_model=chat_model, chat_model_id="small", limits=Limits(max_text_characters=10)
    )
    with open_page(browser, address) as page:
        page.locator("#question").fill("Where is the moon?")
        page.keyboard.press("Enter")
        expect(page.locator("#problem")).to_contain_text("Choose a picture first")
        Picture(page, scene[0])
        page.locator("#question").press("Enter")
        expect(page.locator("#problem")).to_contain_text("18 characters in all messages")
        expect(page.locator("#question")).to_have_text("Where is the moon?")
        expect(page.locator(".turn")).to_have_count(0)


def test_without_a_language_model_chat_says_so(page, scene):
    expect(page.locator("#no-chat")).to_contain_text("No language model is served here")
    expect(page.locator("#chat-form")).to_be_hidden()
    Picture(page, scene[0]).drag((10, 10), (60, 60))
    expect(page.locator("#regions li")).to_have_count(1)
    expect(page.get_by_label("Ask about region 1")).to_be_hidden()
