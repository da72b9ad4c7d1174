"""Opening images that nobody vouches for: sizes are checked before anything is decoded."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from pipelines.storage import Place
from samtok.errors import ConfigError, InputError
from samtok.scenes import generate_scene
from samtok.tokenizer.image_transform import MAX_IMAGE_PIXELS

MAX_FILE_BYTES: Final = 1 << 28
"""Files larger than this are not read."""

SCENE_SCHEME: Final = "scene:"
"""Begins the `image_uri` of a built-in scene, which is no file; its scene_id follows."""

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


def read_image_file(folder: Place, file_name: str) -> bytes:
    """Read an image file that must lie inside `folder`.

    Args:
        folder: the image folder or ``s3://`` prefix.
        file_name: as the annotations give it, relative to `folder`.

    Returns:
        The file's bytes.

    Raises:
        InputError: ``image_path_unsafe``, ``image_missing``, ``image_too_large`` or
            ``image_unreadable``.
    """
    parts = file_name.split("/")
    unsafe = file_name.startswith("/") or ".." in parts or "\\" in file_name or "\0" in file_name
    if unsafe or not file_name or not _is_encodable(file_name):
        raise InputError(
            "image_path_unsafe",
            f"file_name is {file_name!r}; it must be a plain path inside the image folder",
        )
    if not folder.is_remote:
        _check_inside(Path(folder.root), file_name)
    return _read_file(folder, file_name)


def open_image(image_uri: str, declared: tuple[int, int] | None) -> tuple[np.ndarray, bytes | None]:
    """Open an image by the `image_uri` of a row.

    Args:
        image_uri: an absolute local path, ``s3://…``, or ``scene:…``, which is drawn again.
        declared: (height, width) that the row gives.

    Returns:
        uint8, shape (H, W, 3), RGB; and the file, where there is one.

    Raises:
        InputError: as :func:`read_image_file` and :func:`decode_image`.
    """
    if image_uri.startswith(SCENE_SCHEME):
        return _draw_scene(image_uri), None
    is_absolute = image_uri.startswith(("/", "s3://"))
    unsafe = ".." in image_uri.split("/") or "\0" in image_uri or not _is_encodable(image_uri)
    if not is_absolute or unsafe:
        raise InputError(
            "image_path_unsafe",
            f"image_uri is {image_uri!r}; it must be an absolute path, s3://… or scene:…",
        )
    folder, _, name = image_uri.rpartition("/")
    content = _read_file(Place.at(folder or "/"), name)
    return decode_image(content, image_uri, declared), content


def open_row_image(row: Mapping[str, Any]) -> np.ndarray:
    """Open the image of a row of a Corpus: carried with it, or where its uri says.

    Args:
        row: with `image`, `image_uri`, `height` and `width`, as `pipelines.columns.CORPUS` has.

    Returns:
        uint8, shape (H, W, 3), RGB.

    Raises:
        InputError: as :func:`open_image`.
    """
    uri, declared = row["image_uri"] or "", (row["height"], row["width"])
    if row["image"] is None:
        return open_image(uri, declared)[0]
    return decode_image(row["image"], uri, declared)


def _draw_scene(image_uri: str) -> np.ndarray:
    try:
        split, seed, index = image_uri.removeprefix(SCENE_SCHEME).split("-")
        return generate_scene(int(index), split=split, seed=int(seed)).image
    except (ValueError, ConfigError) as error:
        raise InputError("image_missing", f"{image_uri!r} is no scene: {error}") from error


def _read_file(folder: Place, file_name: str) -> bytes:
    try:
        info = folder.filesystem.get_file_info(folder.path(file_name))
        if not info.is_file:
            raise InputError("image_missing", _say_missing(folder, file_name))
        if info.size > MAX_FILE_BYTES:
            raise InputError(
                "image_too_large",
                f"{file_name} has {info.size} bytes; at most {MAX_FILE_BYTES} are read",
            )
        return folder.read_bytes(file_name)
    except (OSError, ValueError) as error:  # ValueError: a path that the file system cannot mean
        raise InputError("image_unreadable", f"{file_name}: {error}") from error


def decode_image(content: bytes, name: str, declared: tuple[int, int] | None) -> np.ndarray:
    """Decode an image to RGB, as stored (orientation tags are not applied).

    CMYK, palette, grey and 16-bit images are converted; the file's content counts, not its name.

    Args:
        content: the file.
        name: for messages.
        declared: (height, width) that the annotations give, if they do.

    Returns:
        uint8, shape (H, W, 3), RGB.

    Raises:
        InputError: ``image_unreadable``, ``image_too_large`` or ``image_size_mismatch``.
    """
    if not content:
        raise InputError("image_unreadable", f"{name} is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                _check_size(image.size, declared, name)
                image.load()
                return _to_rgb(image)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError("image_too_large", f"{name}: {error}") from error
    except Exception as error:  # PIL's readers let whatever a broken file causes escape
        raise InputError("image_unreadable", f"{name}: {error}") from error


def _check_size(size: tuple[int, int], declared: tuple[int, int] | None, name: str) -> None:
    width, height = size
    if width * height > MAX_IMAGE_PIXELS:
        raise InputError(
            "image_too_large",
            f"{name} is {width} x {height}; at most {MAX_IMAGE_PIXELS} pixels are decoded",
        )
    if declared is not None and declared != (height, width):
        raise InputError(
            "image_size_mismatch",
            f"{name} is {width} x {height} pixels (width x height), but the annotations declare "
            f"{declared[1]} x {declared[0]}; masks drawn for another size would not fit",
        )


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):  # PIL would clip 16-bit grey at 255
        values = np.asarray(image).astype(np.uint32)
        grey = ((values.clip(0, 65535) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "P" and "transparency" in image.info:
        return np.array(image.convert("RGBA").convert("RGB"))
    return np.array(image.convert("RGB"))


def _check_inside(folder: Path, file_name: str) -> None:
    try:
        resolved = (folder / file_name).resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(
            "image_path_unsafe", f"{file_name!r} cannot be followed: {error}"
        ) from error
    if not resolved.is_relative_to(folder.resolve()):
        raise InputError(
            "image_path_unsafe", f"{file_name!r} leads out of the image folder through a link"
        )


def _is_encodable(file_name: str) -> bool:
    try:
        file_name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _say_missing(folder: Place, file_name: str) -> str:
    other = next(
        (
            form
            for form in ("NFC", "NFD")
            if (spelled := unicodedata.normalize(form, file_name)) != file_name
            and folder.exists(spelled)
        ),
        None,
    )
    hint = f"; a file of that name in Unicode form {other} is there" if other else ""
    return f"{file_name!r} is not in {folder.uri()}{hint}"
