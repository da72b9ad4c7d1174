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
from PIL import Image

from pipelines import columns
from pipelines.corpus_reader import CorpusFiles
from pipelines.row_groups import RowGroup, read_row_groups, scan_row_groups
from samtok.masks import encode_rle
from samtok.scenes import generate_scene
from samtok.scenes.scene import check_world

_SCENES_PER_BLOCK: Final = 16

IMAGES: Final = pa.schema(
    [
        ("reference", pa.string()),
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("image", pa.binary()),  # the encoded file; null where only the address is known
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("source", pa.string()),
        ("masks", pa.list_(columns.MASK)),
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
        """List the first `limit` images, or all; raises ConfigError where they cannot be."""
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
    """The images of a finished Corpus."""

    files: CorpusFiles

    def identity(self) -> dict[str, Any]:
        """The corpus, by what its manifest says."""
        return {
            "source": "corpus",
            "corpus": self.files.place.uri(),
            "corpus_manifest_sha256": self.files.digest,
        }

    def list_blocks(self, limit: int | None) -> Listing:
        """Row groups of the files, from their footers."""
        blocks, total = [], 0
        for group, _ in scan_row_groups(self.files.place, self.files.files):
            rows = group.num_rows if limit is None else min(group.num_rows, limit - total)
            blocks.append(json.dumps({"group": group, "rows": [0, rows]}))
            total += rows
            if total == limit:
                break
        return Listing(blocks, total)

    def read(self, reference: str) -> Iterator[dict[str, Any]]:
        """Read a row group, and of it the rows referred to."""
        block = json.loads(reference)
        first, stop = block["rows"]
        groups = [RowGroup(*block["group"])]
        (table,) = read_row_groups(self.files.place, groups, _CORPUS_COLUMNS)
        for number in range(first, stop):
            row = table.slice(number, 1).to_pylist()[0]
            yield {"reference": json.dumps({**block, "rows": [number, number + 1]}), **row}
