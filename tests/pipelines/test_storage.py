"""Places: local folders and a real S3 endpoint on this machine behave alike."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.storage import Place


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    if request.param == "local":
        return Place.at(tmp_path / "folder")
    return Place.at(f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}")


def test_files_come_and_go(place):
    assert place.list_files("a") == []
    assert not place.exists("a/one.txt")
    place.write_bytes("a/two.txt", b"2")
    place.write_bytes("a/one.txt", b"1")
    place.write_bytes("a/one.txt", b"11")
    assert place.list_files("a") == ["a/one.txt", "a/two.txt"]
    assert place.read_bytes("a/one.txt") == b"11"
    place.delete("a/one.txt")
    place.delete("a/one.txt")
    assert place.list_files("a") == ["a/two.txt"]
    place.delete("a")
    assert place.list_files("a") == []


def test_tables_round_trip(place):
    table = pa.table({"x": [1, 2], "y": ["a", None]})
    place.write_parquet("t/part.parquet", table)
    assert place.read_parquet("t/part.parquet").equals(table)
    assert place.read_parquet("t/part.parquet", columns=["y"]).column_names == ["y"]


def test_missing_file(place):
    with pytest.raises(OSError, match=r"(?i)no such|not exist|not found|404|path"):
        place.read_bytes("nowhere")


def test_addresses(tmp_path, monkeypatch):
    assert Place.at("s3://bucket/a/").uri("b.txt") == "s3://bucket/a/b.txt"
    assert Place.at("s3://bucket/a").path("b.txt") == "bucket/a/b.txt"
    monkeypatch.chdir(tmp_path)
    assert Place.at("x").uri("b.txt") == str(tmp_path / "x" / "b.txt")


def test_no_half_written_file_is_listed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".one.txt.123").write_bytes(b"half")
    assert Place.at(tmp_path).list_files("a") == []


def test_row_groups_of_large_values_are_small_in_bytes_and_rows(tmp_path):
    place = Place.at(tmp_path)
    table = pa.table({"value": [b"0" * 1000] * 200})
    for name, limit, rows in (("small", 10_000, 9), ("many", 10**9, 64)):
        place.write_parquet(name, table, bytes_per_group=limit)
        groups = pq.read_metadata(tmp_path / name)
        sizes = {groups.row_group(i).num_rows for i in range(groups.num_row_groups)}
        assert max(sizes) == rows
        assert sum(groups.row_group(i).num_rows for i in range(groups.num_row_groups)) == 200
