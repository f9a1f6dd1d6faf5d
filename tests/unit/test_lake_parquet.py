"""Statistics, page indexes and bloom filters allow a reader to skip parts of a file."""

from hashlib import sha256
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from lake_workshop import NOON, Workshop, text

ROWS = 20_000
HASHES = [sha256(str(n).encode()).hexdigest() for n in range(ROWS)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commit a partition with a text that differs in every row, and a text with few values."""
    shop = Workshop(tmp_path_factory.mktemp("skip") / "lake")
    shop.land(
        range(NOON, NOON + ROWS), columns={"SHA256": text(*HASHES), "Kind": text(*["a", "b"] * (ROWS // 2))}
    )
    return shop.file()


def test_every_column_has_statistics_and_page_indexes(file: Path) -> None:
    group = pq.ParquetFile(file).metadata.row_group(0)
    for column in map(group.column, range(group.num_columns)):
        assert column.is_stats_set
        assert column.statistics.null_count == (ROWS if column.path_in_schema == "_rescued_data" else 0)
        assert column.has_offset_index
        assert column.has_column_index
    assert group.column(0).statistics.has_min_max


def test_a_text_of_many_values_has_a_bloom_filter_that_duckdb_uses(file: Path) -> None:
    db = duckdb.connect()

    def excluded(value: str) -> bool:
        probe = "SELECT bool_and(bloom_filter_excludes) FROM parquet_bloom_probe(?, 'SHA256', ?)"
        found = db.execute(probe, [str(file), value])
        return bool(found.fetchall()[0][0])

    filters = db.execute(
        "SELECT path_in_schema FROM parquet_metadata(?) WHERE bloom_filter_offset IS NOT NULL", [str(file)]
    )
    assert filters.fetchall() == [("SHA256",)]
    assert not any(map(excluded, HASHES[::500]))
    absent = [sha256(f"absent {n}".encode()).hexdigest() for n in range(100)]
    assert sum(map(excluded, absent)) > 80
    query = f"SELECT Kind FROM '{file}' WHERE SHA256 = ?"
    assert db.execute(query, [HASHES[777]]).fetchall() == [("b",)]
    assert db.execute(query, [absent[0]]).fetchall() == []
