"""Language beside COCO instances: referring expressions in the manner of gRefCOCO, and texts.

Refs: a JSON list; a ref has `image_id`, `ann_id` (a number, or a list of them), `sentences` (each
with `sent`), perhaps `no_target` and `split`. Source: gRefCOCO's ``grefs(unc).json``; RefCOCO's own
files hold the same as pickles, which are never opened here.

Texts: JSON lines as ``jobs/make_scenes.py`` writes them, ``{"image_id": …, "texts": [{"kind",
"text", "mask_ids", "spans": [{"start", "end", "mask_ids", "role"}]}]}``, masks by annotation id.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ijson

from pipelines.corpus.sources.json_values import clean_text, read_id
from pipelines.storage import Place
from samtok.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ListedText:
    """A text of an image, or what was wrong with it."""

    image_id: str | None
    row: dict[str, Any] | None = None
    """Of `columns.TEXT`; masks are not looked up yet."""
    defect: str | None = None
    """One sentence, where there is no row."""


def read_refs(location: str, split: str | None) -> Iterator[ListedText]:
    """Expressions of a refs file, streaming.

    Args:
        location: local path or ``s3://`` address.
        split: only refs of this one; None takes all.

    Raises:
        ConfigError: the file is not a JSON list.
    """
    place, name = Place.at_file(location)
    try:
        with place.filesystem.open_input_file(place.path(name)) as stream:
            for position, ref in enumerate(ijson.items(stream, "item", use_float=True)):
                if isinstance(ref, dict) and split is not None and ref.get("split") != split:
                    continue
                yield from _read_ref(ref, f"refs[{position}]")
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--refs {location} stops in the middle or is no JSON list ({error})"
        ) from error


def read_texts(location: str) -> Iterator[ListedText]:
    """Texts of a file of JSON lines, streaming.

    Args:
        location: local path or ``s3://`` address.
    """
    place, name = Place.at_file(location)
    with place.filesystem.open_input_stream(place.path(name)) as stream:
        for number, line in enumerate(io.BufferedReader(stream), 1):
            if line.strip():
                yield from _read_line(line, f"line {number} of the texts")


def _read_ref(ref: Any, where: str) -> Iterator[ListedText]:
    entry = ref if isinstance(ref, dict) else {}
    image_id = read_id(entry.get("image_id"))
    ids = entry.get("ann_id")
    ids = ids if isinstance(ids, list) else [ids]
    mask_ids = [] if entry.get("no_target") or ids == [-1] else [read_id(i) for i in ids]
    sentences = entry.get("sentences")
    if image_id is None or None in mask_ids or not isinstance(sentences, list):
        yield ListedText(image_id, defect=f"{where} lacks image_id, ann_id or sentences")
        return
    for sentence in sentences:
        words = sentence.get("sent") if isinstance(sentence, dict) else None
        if not isinstance(words, str) or not words.strip():
            yield ListedText(image_id, defect=f"a sentence of {where} has no sent")
            continue
        text = clean_text(words.strip())
        span = {"start": 0, "end": len(text), "mask_ids": mask_ids, "role": "phrase"}
        yield ListedText(
            image_id,
            {"kind": "referring", "text": text, "mask_ids": mask_ids, "spans": [span]},
        )


def _read_line(line: bytes, where: str) -> Iterator[ListedText]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        yield ListedText(None, defect=f"{where} is not JSON: {error}")
        return
    entry = entry if isinstance(entry, dict) else {}
    image_id, texts = read_id(entry.get("image_id")), entry.get("texts")
    if image_id is None or not isinstance(texts, list):
        yield ListedText(image_id, defect=f"{where} lacks image_id or texts")
        return
    for text in texts:
        try:
            yield ListedText(image_id, _read_text(text))
        except (TypeError, KeyError, ValueError) as error:
            yield ListedText(image_id, defect=f"a text in {where} is malformed: {error!r}")


def _read_text(text: Any) -> dict[str, Any]:
    return {
        "kind": _string(text["kind"]),
        "text": _string(text["text"]),
        "mask_ids": _ids(text["mask_ids"]),
        "spans": [
            {
                "start": _position(span["start"]),
                "end": _position(span["end"]),
                "mask_ids": _ids(span["mask_ids"]),
                "role": _string(span["role"]),
            }
            for span in text["spans"]
        ],
    }


def _ids(values: Any) -> list[str]:
    ids = [read_id(value) for value in values]
    if None in ids:
        raise ValueError(f"mask_ids are {values}")
    return [i for i in ids if i is not None]


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return clean_text(value)


def _position(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise ValueError(f"{value!r} is no position")
    return value
