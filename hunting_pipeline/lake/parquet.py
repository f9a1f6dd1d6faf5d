"""How this project's Parquet is written: settings chosen once, used by every writer."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["ROW_GROUP_BYTES", "ROW_GROUP_ROWS", "writer"]

ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 64 * 1024 * 1024
"""A row group ends with the piece that reaches one of these, rows or Arrow bytes, so that wide tables stay
cheap in memory; it never holds more rows."""

_ZSTD_LEVEL = 1
"""Levels above cost more time than the size they save is worth on these tables."""


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """An open file; give it tables of `schema`, and `row_group_size=ROW_GROUP_ROWS` with each."""
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        write_page_index=True,
        write_page_checksum=True,
    )
