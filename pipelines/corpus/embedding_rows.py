"""Embedded images → the rows of an embeddings output, with their figures.

Apart from the stage that embeds, so that writers run without torch.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import columns
from pipelines.corpus.commits import Block, Figures

EMBEDDINGS_FOLDER: Final = "embeddings"


def build_embeddings_block(images: pa.Table) -> Block:
    """A block of embeddings from images of `columns.EMBEDDED`."""
    kept = images.select(columns.EMBEDDINGS.names)
    if pc.any(images["is_rejected"]).as_py():  # filtering copies the maps
        kept = kept.filter(pc.invert(images["is_rejected"]))
    has_maps = pc.is_valid(kept[columns.EMBEDDING_MAPS[0]])
    sizes = [pc.binary_length(kept[name]) for name in columns.EMBEDDING_MAPS]
    return Block(
        image_ids=images["image_id"].to_pylist(),
        table=kept,
        quarantined=[row for rows in images["quarantined"].to_pylist() for row in rows],
        figures=Figures(
            num_images=images.num_rows,
            num_rejected_images=images.num_rows - kept.num_rows,
            num_masks=pc.sum(pc.list_value_length(kept["masks"])).as_py() or 0,
            num_bytes=sum(pc.sum(size).as_py() or 0 for size in sizes),
            num_embedded=pc.sum(has_maps).as_py() or 0,
        ),
    )
