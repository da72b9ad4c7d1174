"""Opening images that nobody vouches for."""

import io
import os
import struct
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image

from pipelines.image_decoding import decode_image, read_image_file
from pipelines.storage import Place
from samtok.errors import InputError


def encode(array_or_image, **options):
    image = (
        array_or_image
        if isinstance(array_or_image, Image.Image)
        else Image.fromarray(array_or_image)
    )
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def assert_reason(reason, call):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.reason == reason, caught.value


def test_rgb_comes_back_as_stored(picture):
    np.testing.assert_array_equal(decode_image(encode(picture), "x.png", (20, 30)), picture)


def test_content_counts_not_the_name(picture):
    np.testing.assert_array_equal(decode_image(encode(picture), "x.jpg", None), picture)


def test_orientation_tags_are_not_applied(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(picture, format="JPEG", exif=exif, quality=95)
    assert decode_image(content, "x.jpg", (20, 30)).shape == (20, 30, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    decoded = decode_image(encode(values), "x.png", (1, 4))
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (decoded == decoded[..., :1]).all()


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGBA", "P", "CMYK"])
def test_other_modes_become_rgb(picture, mode):
    image = Image.fromarray(picture).convert(mode)
    content = encode(image, format="TIFF" if mode == "CMYK" else "PNG")
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode_image(content, "x", (20, 30)), expected)


def test_palette_with_transparency(picture):
    image = Image.fromarray(picture).convert("P")
    content = encode(image, transparency=0)
    decoded = decode_image(content, "x.png", (20, 30))
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")))


def test_broken_content_is_refused(picture):
    whole = encode(picture, format="JPEG")
    assert_reason("image_unreadable", lambda: decode_image(whole[: len(whole) // 2], "x", None))
    assert_reason("image_unreadable", lambda: decode_image(b"", "x", None))
    assert_reason("image_unreadable", lambda: decode_image(b"<html>404</html>", "x", None))


def test_declared_size_must_fit(picture):
    content = encode(picture)
    assert_reason("image_size_mismatch", lambda: decode_image(content, "x", (30, 20)))


def test_a_bomb_is_refused_before_decoding():
    """A PNG header that declares 100,000 x 100,000 pixels and brings no data."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(header))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
    )
    with pytest.raises(InputError) as caught:
        decode_image(content, "x", (100_000, 100_000))
    assert caught.value.reason in ("image_too_large", "image_unreadable")


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/passwd", "a/../../secret.png", "", "a\\b.png", "a\0b", "\udcff.png"],
)
def test_names_that_lead_out_are_not_opened(tmp_path, name):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    assert_reason("image_path_unsafe", lambda: read_image_file(Place.at(folder), name))


def test_links_that_lead_out_are_not_opened(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    os.symlink(tmp_path / "secret.png", folder / "link.png")
    assert_reason("image_path_unsafe", lambda: read_image_file(Place.at(folder), "link.png"))


def test_missing_file_mentions_the_other_spelling(tmp_path):
    composed = unicodedata.normalize("NFC", "café.png")
    (tmp_path / unicodedata.normalize("NFD", composed)).write_bytes(b"x")
    with pytest.raises(InputError, match="Unicode form NFD") as caught:
        read_image_file(Place.at(tmp_path), composed)
    assert caught.value.reason == "image_missing"
    (tmp_path / "folder").mkdir()
    assert_reason("image_missing", lambda: read_image_file(Place.at(tmp_path), "folder"))
