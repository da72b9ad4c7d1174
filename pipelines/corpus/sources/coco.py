"""COCO instances: one JSON file of images, annotations and categories.

The file may hold millions of annotations in any order. It is streamed into a scratch database that
groups them by image, and from there into index shards; nothing holds it whole.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ijson

from pipelines.corpus.index import write_index_quarantine, write_shards
from pipelines.corpus.records import DecodedImage, DecodedMask, Index, QuarantinedRow
from pipelines.image_decoding import decode_image, read_image_file
from pipelines.storage import Place
from samtok.errors import ConfigError, InputError
from samtok.masks import segmentation_to_rle
from samtok.masks.rle import check_image_size

_NAME = "coco"
_LENIENT_BYTES = 1 << 28
_SCHEMA = """
drop table if exists images;
drop table if exists annotations;
drop table if exists quarantine;
create table images (id text primary key, height, width, file_name, position integer);
create table annotations (
    id text primary key, image_id text, category text, segmentation text, is_crowd integer,
    position integer
);
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

    @property
    def name(self) -> str:
        """Value of the `source` column."""
        return _NAME

    def identity(self) -> dict[str, Any]:
        """Annotation file with its size and time, and the image folder."""
        place, name = self._annotation_file()
        info = place.filesystem.get_file_info(place.path(name))
        return {
            "source": _NAME,
            "annotations": place.uri(name),
            "annotations_bytes": info.size,
            "annotations_modified_ns": info.mtime_ns,
            "images": Place.at(self.images).uri(),
        }

    def check(self) -> None:
        """Both must be there."""
        place, name = self._annotation_file()
        if not place.exists(name):
            raise ConfigError(f"--annotations {self.annotations}: there is no such file")
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
                shards = write_shards(
                    output, _image_rows(database, limit), images_per_shard=self.images_per_shard
                )
                quarantined = _quarantined(database, limit)
                by_reason, num_quarantined_masks = write_index_quarantine(output, quarantined)
                num_images, num_masks = _count(database, limit)
            finally:
                database.close()
        return Index(
            shards=shards,
            num_images=num_images,
            num_masks=num_masks,
            quarantined=by_reason,
            num_quarantined_masks=num_quarantined_masks,
        )

    def decode(self, image_id: str, payload: str, *, with_texts: bool = False) -> DecodedImage:
        """Open the image and check each annotation against it; instances have no texts."""
        row = json.loads(payload)
        annotations, folder = row["annotations"], Place.at(self.images)
        file_name = json.loads(row["file_name"])
        uri = folder.uri(_clean(file_name)) if file_name is not None else ""
        try:
            if file_name is None:
                raise InputError("image_path_unsafe", "the image has no file_name")
            declared = _declared_size(row)
            content = read_image_file(folder, file_name)
            pixels = decode_image(content, file_name, declared)
        except InputError as error:
            return DecodedImage.reject(
                error,
                source=_NAME,
                image_id=image_id,
                image_uri=uri,
                mask_ids=[mask_id for mask_id, *_ in annotations],
            )
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
            quarantined=quarantined,
        )

    def _annotation_file(self) -> tuple[Place, str]:
        folder, _, name = str(Place.at(self.annotations).root).rpartition("/")
        return Place.at(folder or "/"), name

    def _stream(self, key: str) -> Iterator[Any]:
        """Entries of one top-level list, strictly parsed."""
        place, name = self._annotation_file()
        with place.filesystem.open_input_file(place.path(name)) as stream:
            yield from ijson.items(stream, f"{key}.item", use_float=True)

    def _read_leniently(self, problem: Exception) -> dict[str, list[Any]]:
        """The whole file, for what strict parsers stop at: NaN, Infinity, torn surrogates."""
        place, name = self._annotation_file()
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
        category_id: _read_id(entry.get("name")) or category_id
        for entry in entries("categories")
        if isinstance(entry, dict) and (category_id := _read_id(entry.get("id"))) is not None
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
    image_id = _read_id(entry.get("id")) if isinstance(entry, dict) else None
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
    mask_id = _read_id(entry.get("id")) if isinstance(entry, dict) else None
    if mask_id is None:
        _reject(database, None, where, "annotation_malformed", f"{where} has no id")
        return
    image_id = _read_id(entry.get("image_id"))
    if not database.execute("select 1 from images where id = ?", (image_id,)).fetchone():
        detail = f"image_id of annotation {mask_id} is {image_id}, which is not in images"
        _reject(database, image_id, mask_id, "unknown_image", detail)
        return
    category_id = _read_id(entry.get("category_id"))
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


def _read_id(value: Any) -> str | None:
    """An id or a name as text that can be stored; None where it is neither number nor string."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some writers give 1.0
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return _clean(str(value))


def _clean(text: str) -> str:
    """JSON can hold halves of surrogate pairs, which no file and no Arrow column can."""
    return text.encode(errors="backslashreplace").decode()


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


def _count(database: sqlite3.Connection, limit: int | None) -> tuple[int, int]:
    images = database.execute(f"select count(*) from ({_LISTED})", (_limit(limit),)).fetchone()[0]
    masks = database.execute(
        f"select count(*) from annotations where image_id in ({_LISTED})", (_limit(limit),)
    ).fetchone()[0]
    return images, masks


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit


def _declared_size(row: dict[str, Any]) -> tuple[int, int]:
    check_image_size(row["height"], row["width"])
    return int(row["height"]), int(row["width"])
