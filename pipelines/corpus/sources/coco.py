"""COCO instances: one JSON file of images, annotations and categories, perhaps with language.

The file may hold millions of annotations in any order. It is streamed into a scratch database that
groups them by image, and from there into index shards; nothing holds it whole.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ijson

from pipelines.corpus.index import write_index_quarantine, write_shards
from pipelines.corpus.records import DecodedImage, DecodedMask, Index, identify_file
from pipelines.corpus.sources.coco_texts import ListedText, read_refs, read_texts
from pipelines.corpus.sources.json_values import clean_text, read_id
from pipelines.image_decoding import decode_image, read_image_file
from pipelines.quarantined_row import QuarantinedRow
from pipelines.storage import Place
from samtok.errors import ConfigError, InputError
from samtok.masks import segmentation_to_rle
from samtok.masks.rle import check_image_size

_NAME = "coco"
_LENIENT_BYTES = 1 << 28
_SCHEMA = """
drop table if exists images;
drop table if exists annotations;
drop table if exists texts;
drop table if exists quarantine;
create table images (id text primary key, height, width, file_name, position integer);
create table annotations (
    id text primary key, image_id text, category text, segmentation text, is_crowd integer,
    position integer
);
create table texts (image_id text, text text);
create table quarantine (image_id text, mask_id text, reason text, detail text);
"""
_LISTED = "select id from images order by position limit ?"


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoSource:
    """A COCO instances file with its image folder."""

    annotations: str
    """Local path or ``s3://`` address of the JSON file."""
    images: str
    """Local folder or ``s3://`` prefix."""
    images_per_shard: int = 128
    """Images listed per shard."""
    refs: str | None = None
    """Referring expressions for the annotations, see `coco_texts`; local or ``s3://``."""
    refs_split: str | None = None
    """Only refs of this split."""
    texts: str | None = None
    """Texts of all kinds for the annotations, see `coco_texts`; local or ``s3://``."""

    @property
    def name(self) -> str:
        """Value of the `source` column."""
        return _NAME

    def identity(self) -> dict[str, Any]:
        """Every file with its size and time, and the image folder."""
        identity: dict[str, Any] = {"source": _NAME, "images": Place.at(self.images).uri()}
        for key, location in self._files().items():
            identity |= identify_file(key, location)
        return identity if self.refs is None else {**identity, "refs_split": self.refs_split}

    def check(self) -> None:
        """Everything must be there."""
        for flag, location in self._files().items():
            place, name = Place.at_file(location)
            if not place.exists(name):
                raise ConfigError(f"--{flag} {location}: there is no such file")
        folder = Place.at(self.images)
        if not folder.is_remote and not folder.exists():
            raise ConfigError(f"--images {self.images}: there is no such folder")

    def write_index(self, output: Place, *, limit: int | None) -> Index:
        """Group annotations by image.

        Raises:
            ConfigError: the file is not COCO instances JSON; names the file and the defect.
        """
        with tempfile.TemporaryDirectory() as scratch:
            database = sqlite3.connect(Path(scratch) / "coco.sqlite")
            try:
                database.executescript("pragma journal_mode=off; pragma synchronous=off;")
                try:
                    _fill(database, self._stream, self.annotations)
                except (ijson.JSONError, UnicodeDecodeError) as error:
                    content = self._read_leniently(error)
                    _fill(database, lambda key: content[key], self.annotations)
                _add_texts(database, self._list_texts())
                shards = write_shards(
                    output, _image_rows(database, limit), images_per_shard=self.images_per_shard
                )
                quarantined = _quarantined(database, limit)
                by_reason, num_quarantined_masks = write_index_quarantine(output, quarantined)
                num_images, num_masks, num_texts = _count(database, limit)
            finally:
                database.close()
        return Index(
            shards=shards,
            num_images=num_images,
            num_masks=num_masks,
            quarantined=by_reason,
            num_quarantined_masks=num_quarantined_masks,
            num_texts=num_texts,
        )

    def decode(self, image_id: str, payload: str, *, with_texts: bool = False) -> DecodedImage:
        """Open the image and check each annotation against it."""
        row = json.loads(payload)
        texts = row.get("texts", []) if with_texts else []
        annotations, folder = row["annotations"], Place.at(self.images)
        file_name = json.loads(row["file_name"])
        uri = folder.uri(clean_text(file_name)) if file_name is not None else ""
        try:
            if file_name is None:
                raise InputError("image_path_unsafe", "the image has no file_name")
            declared = _declared_size(row)
            content = read_image_file(folder, file_name)
            pixels = decode_image(content, file_name, declared)
        except InputError as error:
            rejected = DecodedImage.reject(
                error,
                source=_NAME,
                image_id=image_id,
                image_uri=uri,
                mask_ids=[mask_id for mask_id, *_ in annotations],
            )
            return dataclasses.replace(rejected, texts=texts)
        height, width = pixels.shape[:2]
        masks, quarantined = [], []
        for mask_id, category, segmentation, is_crowd in annotations:
            try:
                rle = segmentation_to_rle(_read_segmentation(segmentation), height, width)
            except InputError as error:
                quarantined.append(
                    QuarantinedRow.of(
                        error, source=_NAME, image_id=image_id, mask_id=mask_id, stage="decode"
                    )
                )
                continue
            masks.append(
                DecodedMask(mask_id=mask_id, rle=rle, category=category, is_crowd=bool(is_crowd))
            )
        return DecodedImage(
            image_id=image_id,
            image_uri=uri,
            source=_NAME,
            height=height,
            width=width,
            pixels=pixels,
            content=content,
            masks=masks,
            texts=texts,
            quarantined=quarantined,
        )

    def _files(self) -> dict[str, str]:
        """What is given besides the image folder, by flag."""
        files = {"annotations": self.annotations, "refs": self.refs, "texts": self.texts}
        return {flag: location for flag, location in files.items() if location is not None}

    def _list_texts(self) -> Iterator[ListedText]:
        if self.refs is not None:
            yield from read_refs(self.refs, self.refs_split)
        if self.texts is not None:
            yield from read_texts(self.texts)

    def _stream(self, key: str) -> Iterator[Any]:
        """Entries of one top-level list, strictly parsed."""
        place, name = Place.at_file(self.annotations)
        with place.filesystem.open_input_file(place.path(name)) as stream:
            yield from ijson.items(stream, f"{key}.item", use_float=True)

    def _read_leniently(self, problem: Exception) -> dict[str, list[Any]]:
        """The whole file, for what strict parsers stop at: NaN, Infinity, torn surrogates."""
        place, name = Place.at_file(self.annotations)
        refusal = (
            f"{self.annotations} stops in the middle or is not JSON ({problem}); nothing was read "
            "from it: make or download the file again"
        )
        if place.filesystem.get_file_info(place.path(name)).size > _LENIENT_BYTES:
            raise ConfigError(refusal) from problem
        try:
            content = json.loads(place.read_bytes(name))
        except (ValueError, RecursionError):
            raise ConfigError(refusal) from problem
        if not isinstance(content, dict):
            raise ConfigError(f"{self.annotations} holds no object at its top level")
        lists = {key: content.get(key) for key in ("categories", "images", "annotations")}
        return {key: value if isinstance(value, list) else [] for key, value in lists.items()}


def _fill(
    database: sqlite3.Connection, entries: Callable[[str], Iterable[Any]], where: str
) -> None:
    """Read the three lists into a new database; bad entries go to its quarantine table."""
    database.executescript(_SCHEMA)
    categories = {
        category_id: read_id(entry.get("name")) or category_id
        for entry in entries("categories")
        if isinstance(entry, dict) and (category_id := read_id(entry.get("id"))) is not None
    }
    num_images = 0
    for position, entry in enumerate(entries("images")):
        num_images += 1
        _add_image(database, entry, position)
    if not num_images:
        raise ConfigError(
            f"{where} lists no images; --source coco reads COCO instances JSON with the lists "
            "images, annotations and categories"
        )
    for position, entry in enumerate(entries("annotations")):
        _add_annotation(database, entry, position, categories)
    database.executescript("create index by_image on annotations (image_id, position);")


def _add_image(database: sqlite3.Connection, entry: Any, position: int) -> None:
    image_id = read_id(entry.get("id")) if isinstance(entry, dict) else None
    if image_id is None:
        _reject(database, None, None, "image_entry_malformed", f"images[{position}] has no id")
        return
    name = entry.get("file_name")
    if not isinstance(name, str | None):
        detail = f"file_name of images[{position}] is a {type(name).__name__}, not a string"
        _reject(database, image_id, None, "image_entry_malformed", detail)
        return
    file_name = json.dumps(name)  # escaped, as it may be no valid text
    row = (image_id, entry.get("height"), entry.get("width"), file_name, position)
    try:
        database.execute("insert into images values (?, ?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        detail = f"images[{position}] repeats the id {image_id}; the first entry is used"
        _reject(database, image_id, None, "duplicate_image_id", detail)
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError, UnicodeEncodeError):
        detail = f"images[{position}]: height or width is not a number of pixels"
        _reject(database, image_id, None, "image_entry_malformed", detail)


def _add_annotation(
    database: sqlite3.Connection, entry: Any, position: int, categories: dict[str, str]
) -> None:
    where = f"annotations[{position}]"
    mask_id = read_id(entry.get("id")) if isinstance(entry, dict) else None
    if mask_id is None:
        _reject(database, None, where, "annotation_malformed", f"{where} has no id")
        return
    image_id = read_id(entry.get("image_id"))
    if not database.execute("select 1 from images where id = ?", (image_id,)).fetchone():
        detail = f"image_id of annotation {mask_id} is {image_id}, which is not in images"
        _reject(database, image_id, mask_id, "unknown_image", detail)
        return
    category_id = read_id(entry.get("category_id"))
    if category_id not in categories:
        detail = f"category_id of annotation {mask_id} is {category_id}, which is not in categories"
        _reject(database, image_id, mask_id, "unknown_category", detail)
        return
    try:
        segmentation = json.dumps(entry.get("segmentation"))
    except RecursionError:
        detail = f"the segmentation of annotation {mask_id} is nested too deeply"
        _reject(database, image_id, mask_id, "segmentation_malformed", detail)
        return
    is_crowd = entry.get("iscrowd") == 1
    row = (mask_id, image_id, categories[category_id], segmentation, is_crowd, position)
    try:
        database.execute("insert into annotations values (?, ?, ?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        detail = f"{where} has id {mask_id}, which an earlier annotation has; the first is used"
        _reject(database, image_id, mask_id, "duplicate_annotation_id", detail)


def _add_texts(database: sqlite3.Connection, texts: Iterable[ListedText]) -> None:
    for text in texts:
        if text.row is None:
            _reject(database, text.image_id, None, "text_malformed", text.defect or "")
            continue
        known = "select 1 from images where id = ?"
        if not database.execute(known, (text.image_id,)).fetchone():
            detail = f"{text.row['text']!r} is said of {text.image_id}, which is not in images"
            _reject(database, text.image_id, None, "unknown_image", detail)
            continue
        row = (text.image_id, json.dumps(text.row))
        database.execute("insert into texts values (?, ?)", row)
    database.executescript("create index texts_by_image on texts (image_id);")


def _read_segmentation(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise InputError(
            "segmentation_malformed", "the segmentation is nested too deeply"
        ) from error


def _reject(
    database: sqlite3.Connection,
    image_id: str | None,
    mask_id: str | None,
    reason: str,
    detail: str,
) -> None:
    row = (image_id or "", mask_id, reason, detail)
    database.execute("insert into quarantine values (?, ?, ?, ?)", row)


def _image_rows(database: sqlite3.Connection, limit: int | None) -> Iterator[dict[str, str]]:
    query = "select id, height, width, file_name from images order by position limit ?"
    for image_id, height, width, file_name in database.execute(query, (_limit(limit),)):
        annotations = database.execute(
            "select id, category, segmentation, is_crowd from annotations where image_id = ? "
            "order by position",
            (image_id,),
        )
        payload = {
            "file_name": file_name,
            "height": height,
            "width": width,
            "annotations": annotations.fetchall(),
        }
        query_texts = "select text from texts where image_id = ? order by rowid"
        if texts := database.execute(query_texts, (image_id,)).fetchall():
            payload["texts"] = [json.loads(text) for (text,) in texts]
        yield {"image_id": image_id, "payload": json.dumps(payload)}


def _quarantined(database: sqlite3.Connection, limit: int | None) -> Iterator[QuarantinedRow]:
    """Rows rejected while listing; of a limited run only those that belong to a listed image."""
    query = "select image_id, mask_id, reason, detail from quarantine"
    if limit is not None:
        query += f" where image_id in ({_LISTED})"
    listed = () if limit is None else (limit,)
    for image_id, mask_id, reason, detail in database.execute(query, listed):
        yield QuarantinedRow(
            source=_NAME,
            image_id=image_id,
            mask_id=mask_id,
            stage="index",
            reason=reason,
            detail=detail,
        )


def _count(database: sqlite3.Connection, limit: int | None) -> tuple[int, int, int]:
    """Images, and the masks and texts of them."""
    images, masks, texts = (
        database.execute(f"select count(*) from {table}", (_limit(limit),)).fetchone()[0]
        for table in (
            f"({_LISTED})",
            f"annotations where image_id in ({_LISTED})",
            f"texts where image_id in ({_LISTED})",
        )
    )
    return images, masks, texts


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit


def _declared_size(row: dict[str, Any]) -> tuple[int, int]:
    check_image_size(row["height"], row["width"])
    return int(row["height"]), int(row["width"])
