"""How this project's Parquet is written: settings chosen once, used by every parquet_writer."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

__all__ = ["ROW_GROUP_BYTES", "ROW_GROUP_ROWS", "parquet_writer"]

ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 64 * 1024 * 1024
"""A row group ends with the piece that reaches one of these, rows or Arrow bytes, so that wide tables stay
cheap in memory; it never holds more rows. Groups of 16,384 rows made files a fifth to a third larger."""

_ZSTD_LEVEL = 1
"""Levels above cost more time than the size they save is worth on these tables."""
_SAMPLE_ROWS = 4096
"""Rows whose values tell how a column is written."""
_DICTIONARY_BELOW = 0.7
"""Distinct values a row, above which a dictionary is begun only to be given up: files without such are a
seventh smaller and take a fifth less time to write."""
_BLOOM_FROM = 0.1
"""Distinct values a row, from which a row group's least and greatest text tell a reader little, and a bloom
filter tells it what to skip when it looks for one hash, address or name."""
_BLOOM_FPP = 0.05
"""How often a bloom filter is wrong: at one in twenty, files grow by 2 to 4 %."""


def parquet_writer(path: Path, schema: pa.Schema, first: pa.Table) -> pq.ParquetWriter:
    """An open file; give it tables of `schema`, and `row_group_size=ROW_GROUP_ROWS` with each.

    Args:
        path: of the file to write.
        schema: of all tables to come.
        first: the first of them; its values decide which columns get a dictionary or a bloom filter.
    """
    sample = first.slice(0, _SAMPLE_ROWS)
    distinct = {
        name: pc.count_distinct(sample[name]).as_py() / max(1, sample.num_rows) for name in schema.names
    }
    rows = min(first.num_rows, ROW_GROUP_ROWS)
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=[name for name, part in distinct.items() if part < _DICTIONARY_BELOW],
        bloom_filter_options={
            field.name: {"ndv": math.ceil(distinct[field.name] * rows), "fpp": _BLOOM_FPP}
            for field in schema
            if pa.types.is_string(field.type) and distinct[field.name] >= _BLOOM_FROM
        },
        write_page_index=True,
        write_page_checksum=True,
    )
