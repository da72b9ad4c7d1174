"""General conversations without masks, made elsewhere, that a mixture may hold besides its own.

A Parquet file or a JSONL file, a conversation per row: `messages`, a list of {role, content} in
which user and assistant take turns; `image_uri`, relative to the image folder, or absolute, or
``s3://``; in Parquet also `image`, the encoded file; and perhaps `source`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pipelines.corpus.dialogue_rows import ImageDialogues, Mixture, conversation_row
from pipelines.corpus.records import identify_file
from pipelines.corpus.sources.parquet_rows import RowReader
from pipelines.image_decoding import decode_image, open_image, read_image_file
from pipelines.row_groups import scan_row_groups
from pipelines.storage import Place
from samtok.errors import ConfigError, InputError
from samtok.tasks import GENERAL_VQA, Conversation, Message
from samtok.tasks.conversation import check_turns
from samtok.tasks.registry import count_copies
from samtok.words import parse

_SOURCE: Final = "general"
_MAX_LINE_BYTES: Final = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralConversations:
    """Such a file."""

    location: str
    """Local path or ``s3://`` address; ``.jsonl`` or ``.parquet``."""
    images: str | None
    """Local folder or ``s3://`` prefix that image uris are relative to."""

    def identity(self) -> dict[str, Any]:
        """The file with its size and time, and the image folder."""
        return {
            **identify_file("general", self.location),
            "general_images": Place.at(self.images).uri() if self.images else None,
        }

    def check(self) -> None:
        """It must be there.

        Raises:
            ConfigError: it is not, or its name does not say what it is.
        """
        place, name = Place.at_file(self.location)
        if not name.endswith((".jsonl", ".parquet")):
            raise ConfigError(f"--general {self.location}: the name must end in .jsonl or .parquet")
        if not place.exists(name):
            raise ConfigError(f"--general {self.location}: there is no such file")

    def list_rows(self, limit: int | None) -> Iterator[dict[str, str]]:
        """Rows of `columns.INDEX`; nothing is checked yet.

        Raises:
            ConfigError: the file cannot be read.
        """
        place, name = Place.at_file(self.location)
        try:
            rows = self._list_groups() if name.endswith(".parquet") else self._list_lines()
            for position, row in enumerate(islice(rows, limit)):
                payload = json.dumps({"general": row})
                yield {"image_id": f"{GENERAL_VQA}/{position}", "payload": payload}
        except OSError as error:
            raise ConfigError(f"--general {place.uri(name)} cannot be read: {error}") from error

    def make(self, image_id: str, row: dict[str, Any], mixture: Mixture) -> ImageDialogues:
        """The conversations of a listed row: as many copies as its weight gives."""
        try:
            content = self._read(row)
            messages = _read_messages(content.get("messages"))
            image = self._open_image(content)
        except InputError as error:
            return ImageDialogues.reject(error, source=_SOURCE, image_id=image_id, num_texts=1)
        weight = mixture.weights.get(GENERAL_VQA, 0.0)
        copies = count_copies(weight, f"{mixture.seed}/{image_id}")
        conversations = [
            Conversation(
                conversation_id=f"{image_id}/{copy}",
                task=GENERAL_VQA,
                messages=messages,
                target_words=(),
                mask_ids=(),
            )
            for copy in range(copies)
        ]
        image = {"image_id": image_id, "source": content.get("source") or _SOURCE, **image}
        return ImageDialogues(
            image_id=image_id,
            conversations=[conversation_row(image, made) for made in conversations],
            num_used=int(copies > 0),
            num_undrawn=int(copies == 0),
        )

    def _list_groups(self) -> Iterator[dict[str, Any]]:
        place, name = Place.at_file(self.location)
        for group, _ in scan_row_groups(place, [name]):
            for row in range(group.num_rows):
                yield {"group": group, "row": row}

    def _list_lines(self) -> Iterator[dict[str, Any]]:
        place, name = Place.at_file(self.location)
        with place.filesystem.open_input_stream(place.path(name)) as stream:
            for line in io.BufferedReader(stream):
                if line.strip():
                    yield {"line": line[:_MAX_LINE_BYTES].decode(errors="backslashreplace")}

    def _read(self, row: dict[str, Any]) -> dict[str, Any]:
        if "line" not in row:
            return RowReader(Place.at_file(self.location)[0].root, None).read_at(row)
        try:
            content = json.loads(row["line"])
        except (ValueError, RecursionError) as error:
            raise InputError("row_unreadable", f"the line is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise InputError("row_unreadable", "the line holds no JSON object")
        return content

    def _open_image(self, content: dict[str, Any]) -> dict[str, Any]:
        uri, carried = content.get("image_uri") or "", content.get("image")
        if not isinstance(uri, str) or not isinstance(carried, bytes | None):
            raise InputError("conversation_malformed", "image_uri is no string, or image no bytes")
        if carried is not None:
            pixels = decode_image(carried, uri or "the image", None)
        elif uri.startswith(("/", "s3://")) or self.images is None:
            pixels, _ = open_image(uri, None)
        else:
            folder = Place.at(self.images)
            pixels = decode_image(read_image_file(folder, uri), uri, None)
            uri = folder.uri(uri)
        height, width = pixels.shape[:2]
        return {"image_uri": uri, "image": carried, "height": height, "width": width}


def _read_messages(value: Any) -> tuple[Message, ...]:
    """Turns of user and assistant, without masks.

    Raises:
        InputError: ``conversation_malformed`` or ``conversation_has_masks``.
    """
    try:
        messages = tuple(Message(row["role"], row["content"]) for row in value)
        check_turns(messages)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            "conversation_malformed",
            f"messages are {str(value)[:200]}; wanted is a list of {{role, content}}, user and "
            f"assistant in turns ({error})",
        ) from error
    if any(parse(message.content) for message in messages):
        raise InputError(
            "conversation_has_masks",
            "a general conversation holds mask words, which belong to another image or tokenizer",
        )
    return messages
