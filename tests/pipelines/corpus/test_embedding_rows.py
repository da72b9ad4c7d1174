"""Rows of embeddings and their figures, without a cluster."""

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import columns
from pipelines.corpus.commits import Ledger
from pipelines.corpus.embedding_rows import build_embeddings_block
from pipelines.storage import Place


def embedded(image_id, *, num_masks=1, is_rejected=False):
    maps = dict.fromkeys(columns.EMBEDDING_MAPS, b"\0" * 1000 if num_masks else None)
    rle = {"size": [1, 1], "counts": "01"}
    mask = {"mask_id": "1", "rle": rle, "category": "", "is_crowd": False}
    quarantined = {"image_id": image_id, "mask_id": "7", "reason": "embedding_not_finite"}
    return {
        "image_id": image_id,
        "source": "test",
        **maps,
        "masks": [mask] * num_masks,
        "is_rejected": is_rejected,
        "quarantined": [quarantined] if is_rejected else [],
    }


def build(*images):
    return build_embeddings_block(pa.Table.from_pylist(list(images), schema=columns.EMBEDDED))


def test_figures_and_rejected_images():
    block = build(
        embedded("a", num_masks=3),
        embedded("b", num_masks=0),
        embedded("c", num_masks=0, is_rejected=True),
    )
    assert block.image_ids == ["a", "b", "c"]
    assert block.table["image_id"].to_pylist() == ["a", "b"]
    assert block.table.schema.equals(columns.EMBEDDINGS)
    assert [row["mask_id"] for row in block.quarantined] == ["7"]
    figures = block.figures
    assert (figures.num_images, figures.num_rejected_images) == (3, 1)
    assert (figures.num_masks, figures.num_embedded, figures.num_bytes) == (3, 1, 3000)
    assert build(embedded("d", num_masks=0)).figures.num_bytes == 0


def test_row_groups_stay_small(tmp_path):
    ledger = Ledger(output=Place.at(tmp_path), folder="embeddings", bytes_per_group=10_000)
    commit = ledger.write_block(build(*(embedded(str(i)) for i in range(20))))
    (path,) = [tmp_path / name for name in ledger.data_files([commit])]
    groups = pq.read_metadata(path)
    sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
    assert sum(sizes) == 20
    assert max(sizes) == 3  # of 3 kB each
