"""Where the images of an evaluation come from: a Corpus in Parquet, or built-in scenes.

A source lists blocks of images, which workers read; a *reference* (JSON) names a block or one
image of it, so that an image can be found again for a picture. Nothing here imports torch, which
would take 350 MB in every worker that reads.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipelines import columns
from pipelines.manifest import MANIFEST_FILE, read_json
from pipelines.storage import Place
from samtok.errors import ConfigError
from samtok.masks import encode_rle
from samtok.scenes import generate_scene
from samtok.scenes.scene import check_world

CORPUS_FOLDER: Final = "corpus"
_SCENES_PER_BLOCK: Final = 16

CORPUS_MASK: Final = pa.struct(
    [
        ("mask_id", pa.string()),
        ("rle", columns.RLE),
        ("category", pa.string()),
        ("is_crowd", pa.bool_()),
    ]
)

IMAGES: Final = pa.schema(
    [
        ("reference", pa.string()),
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("image", pa.binary()),  # the encoded file; null where only the address is known
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("source", pa.string()),
        ("masks", pa.list_(CORPUS_MASK)),
    ]
)
"""Images to measure: the columns of a Corpus that matter here, and the reference."""

BLOCKS: Final = pa.schema([("reference", pa.string())])
"""Work to do: references of blocks."""

_CORPUS_COLUMNS: Final = [name for name in IMAGES.names if name != "reference"]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source lists."""

    blocks: list[str]
    """References of blocks, in order."""
    num_images: int


class ImageSource(Protocol):
    """Small and picklable: it travels to the workers."""

    def identity(self) -> dict[str, Any]:
        """JSON values that say which images these are."""
        ...

    def list_blocks(self, limit: int | None) -> Listing:
        """List the first `limit` images, or all; raises ConfigError where there are none."""
        ...

    def read(self, reference: str) -> Iterator[dict[str, Any]]:
        """Rows of `IMAGES` of a block, or the one row of an image."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneImages:
    """The first scenes of a split, drawn where they are needed."""

    num_images: int
    split: str
    seed: int

    def identity(self) -> dict[str, Any]:
        """All that scenes depend on."""
        return {
            "source": "scenes",
            "num_images": self.num_images,
            "split": self.split,
            "scenes_seed": self.seed,
        }

    def list_blocks(self, limit: int | None) -> Listing:
        """Ranges of scene numbers."""
        check_world(self.split, self.seed)
        count = self.num_images if limit is None else min(limit, self.num_images)
        starts = range(0, count, _SCENES_PER_BLOCK)
        ranges = [[start, min(start + _SCENES_PER_BLOCK, count)] for start in starts]
        return Listing([json.dumps({"scenes": r}) for r in ranges], count)

    def read(self, reference: str) -> Iterator[dict[str, Any]]:
        """Draw the scenes."""
        for index in range(*json.loads(reference)["scenes"]):
            scene = generate_scene(index, split=self.split, seed=self.seed)
            encoded = io.BytesIO()
            Image.fromarray(scene.image).save(encoded, format="BMP")  # of no loss, and quick
            yield {
                "reference": json.dumps({"scenes": [index, index + 1]}),
                "image_id": scene.scene_id,
                "image_uri": f"scene:{scene.scene_id}",
                "image": encoded.getvalue(),
                "height": scene.image.shape[0],
                "width": scene.image.shape[1],
                "source": "scenes",
                "masks": [
                    {
                        "mask_id": item.mask_id,
                        "rle": encode_rle(mask),
                        "category": item.category,
                        "is_crowd": False,
                    }
                    for item, mask in zip(scene.objects, scene.masks, strict=True)
                ],
            }


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusImages:
    """The images of ``corpus/*.parquet`` under a folder or ``s3://`` prefix."""

    place: Place

    def identity(self) -> dict[str, Any]:
        """The address, and what the corpus's manifest says it is, where there is one."""
        made = read_json(self.place, MANIFEST_FILE) or {}
        return {
            "source": "corpus",
            "corpus": self.place.uri(),
            "corpus_identity": made.get("identity"),
        }

    def list_blocks(self, limit: int | None) -> Listing:
        """Row groups of the files, from their footers."""
        files = [name for name in self.place.list_files(CORPUS_FOLDER) if name.endswith(".parquet")]
        if not files:
            raise ConfigError(
                f"no {CORPUS_FOLDER}/*.parquet under {self.place.uri()}; --corpus takes the output "
                "folder of jobs/ingest_corpus.py"
            )
        blocks, total = [], 0
        for name in files:
            with self._open(name) as parquet:
                for group in range(parquet.num_row_groups):
                    left = None if limit is None else limit - total
                    rows = parquet.metadata.row_group(group).num_rows
                    rows = rows if left is None else min(rows, left)
                    if rows > 0:
                        total += rows
                        reference = {"file": name, "row_group": group, "rows": [0, rows]}
                        blocks.append(json.dumps(reference))
        if total == 0:
            raise ConfigError(f"the corpus in {self.place.uri()} holds no image")
        return Listing(blocks, total)

    def read(self, reference: str) -> Iterator[dict[str, Any]]:
        """Read a row group, and of it the rows referred to."""
        block = json.loads(reference)
        first, stop = block["rows"]
        with self._open(block["file"]) as parquet:
            table = parquet.read_row_group(block["row_group"], columns=_CORPUS_COLUMNS)
        for number in range(first, stop):
            row = table.slice(number, 1).to_pylist()[0]
            yield {"reference": json.dumps({**block, "rows": [number, number + 1]}), **row}

    def _open(self, name: str) -> pq.ParquetFile:
        try:
            parquet = pq.ParquetFile(self.place.path(name), filesystem=self.place.filesystem)
        except (OSError, pa.ArrowInvalid) as error:
            raise ConfigError(f"{self.place.uri(name)} cannot be read: {error}") from error
        missing = set(_CORPUS_COLUMNS) - set(parquet.schema_arrow.names)
        if missing:
            raise ConfigError(
                f"{self.place.uri(name)} lacks the columns {', '.join(sorted(missing))}; is it a "
                "Corpus, as jobs/ingest_corpus.py writes?"
            )
        return parquet
