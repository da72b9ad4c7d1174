"""Places where data lies: a local folder or an ``s3://`` prefix, behind one small interface."""

from __future__ import annotations

import io
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from PIL import Image

MAX_ROWS_PER_GROUP: Final = 64
"""Of tables of large values: as many rows as a training reads together."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder or prefix; paths given to its methods are relative to it."""

    root: str
    """Absolute local path, or ``s3://bucket/prefix``."""

    @staticmethod
    def at(location: str | Path) -> Place:
        """The place at a local path (made absolute) or an ``s3://`` address."""
        text = str(location)
        return Place(text.rstrip("/") if text.startswith("s3://") else os.path.abspath(text))

    @staticmethod
    def at_file(location: str) -> tuple[Place, str]:
        """The place that a file lies in, and its name there."""
        folder, _, name = Place.at(location).root.rpartition("/")
        return Place.at(folder or "/"), name

    @property
    def is_remote(self) -> bool:
        """Whether this is a bucket."""
        return self.root.startswith("s3://")

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The pyarrow file system; S3 keys and AWS_ENDPOINT_URL come from the environment."""
        if not self.is_remote:
            return pafs.LocalFileSystem()
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if not endpoint:
            return pafs.S3FileSystem()
        scheme, _, address = endpoint.partition("://")
        return pafs.S3FileSystem(endpoint_override=address, scheme=scheme)

    def path(self, name: str = "") -> str:
        """Path of `name` as :attr:`filesystem` takes it."""
        return "/".join(part for part in (self.root.removeprefix("s3://"), name) if part)

    def uri(self, name: str = "") -> str:
        """Address of `name` for people and for rows."""
        return "/".join(part for part in (self.root, name) if part)

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder."""
        kind = self.filesystem.get_file_info(self.path(name)).type
        return bool(kind != pafs.FileType.NotFound)

    def list_files(self, folder: str) -> list[str]:
        """Names (relative to this place) of the finished files directly in `folder`, sorted."""
        selector = pafs.FileSelector(self.path(folder), allow_not_found=True)
        return sorted(
            f"{folder}/{info.base_name}"
            for info in self.filesystem.get_file_info(selector)
            if info.type == pafs.FileType.File and not info.base_name.startswith(".")
        )

    def read_bytes(self, name: str) -> bytes:
        """All of a file.

        Raises:
            OSError: there is none, or it cannot be read.
        """
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())

    def write_bytes(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file at once: readers see the old one or the new one, never a part."""
        files, path = self.filesystem, self.path(name)
        if self.is_remote:  # an upload becomes visible when it is complete
            with files.open_output_stream(path) as stream:
                stream.write(content)
            return
        folder, _, base = path.rpartition("/")
        files.create_dir(folder, recursive=True)
        partial = f"{folder}/.{base}.{uuid.uuid4().hex}"
        with files.open_output_stream(partial) as stream:
            stream.write(content)
        os.replace(partial, path)

    def write_png(self, name: str, picture: Image.Image) -> None:
        """Write a picture at once, as :meth:`write_bytes` does."""
        encoded = io.BytesIO()
        picture.save(encoded, format="PNG")
        self.write_bytes(name, encoded.getvalue())

    def write_parquet(
        self,
        name: str,
        table: pa.Table,
        *,
        compression: str = "zstd",
        bytes_per_group: int | None = None,
    ) -> None:
        """Write a table at once, as :meth:`write_bytes` does.

        Args:
            name: of the file.
            table: its rows.
            compression: of the columns; "none" reads several times as fast.
            bytes_per_group: about how much of the table a row group holds at most, which is what a
                reader has in memory at a time; for tables of large values, whose groups are of at
                most `MAX_ROWS_PER_GROUP` rows too. None: Parquet's own choice.
        """
        sink = pa.BufferOutputStream()
        if bytes_per_group is None:
            pq.write_table(table, sink, compression=compression)
        else:
            rows = max(1, bytes_per_group * table.num_rows // max(1, table.nbytes))
            rows = min(rows, MAX_ROWS_PER_GROUP)
            pq.write_table(  # dictionaries and minima of large values cost time and help nobody
                table,
                sink,
                compression=compression,
                row_group_size=rows,
                use_dictionary=False,
                write_statistics=False,
            )
        self.write_bytes(name, sink.getvalue())

    def read_parquet(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Read one Parquet file."""
        return pq.read_table(self.path(name), columns=columns, filesystem=self.filesystem)

    def delete(self, name: str) -> None:
        """Remove a file or a folder with all in it; nothing happens where there is none."""
        info = self.filesystem.get_file_info(self.path(name))
        if info.type == pafs.FileType.Directory:
            self.filesystem.delete_dir(self.path(name))
        elif info.type == pafs.FileType.File:
            self.filesystem.delete_file(self.path(name))


def find_source(source: str) -> str:
    """A model's name, folder or address so that it means the same in every process of a machine.

    Args:
        source: a local folder or file, which is made absolute, or anything else.
    """
    return os.path.abspath(source) if os.path.exists(source) else source
