"""Parquet files: the settings for writing them, and the opening of archived files."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.stores import Store

__all__ = ["ROW_GROUP_BYTES", "ROW_GROUP_ROWS", "opened", "opened_copy", "parquet_writer", "readable"]

ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 64 * 1024 * 1024
"""A row group ends with the batch that reaches one of these limits, rows or Arrow bytes. It never holds more
rows. The limit of bytes keeps the memory for wide tables small. Groups of 16,384 rows made files a fifth to a
third larger."""

_ZSTD_LEVEL = 1
"""Higher levels take much more time and save little space on these tables."""
_SAMPLE_ROWS = 4096
"""Number of first rows that decide how a column is written."""
_DICTIONARY_BELOW = 0.7
"""Distinct values per row. Above this share, Arrow would start a dictionary and then drop it. Without such
dictionaries, files are a seventh smaller and take a fifth less time to write."""
_BLOOM_FROM = 0.1
"""Distinct values per row. From this share on, the minimum and maximum of a row group help a reader little. A
bloom filter helps to skip row groups in a search for one hash, address or name."""
_BLOOM_FPP = 0.05
"""The share of false positives of a bloom filter; with one in twenty, files grow by 2 to 4 %."""


def parquet_writer(path: Path, schema: pa.Schema, first: pa.Table) -> pq.ParquetWriter:
    """Open a file for writing. Write tables of `schema`, each with `row_group_size=ROW_GROUP_ROWS`.

    Args:
        path: path of the file.
        schema: the schema of all tables.
        first: the first table; its values decide which columns get a dictionary or a bloom filter.
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


@contextmanager
def opened(store: Store, path: str) -> Iterator[pa.NativeFile]:
    """Open an archived file for reading by Arrow.

    Raises:
        CommitRefused: the file is damaged, it lacks a column, or the permission to read it is missing.
    """
    with readable(path), store.filesystem.open_input_file(path) as file:
        yield file


@contextmanager
def opened_copy(copy: Path, path: str) -> Iterator[pa.NativeFile]:
    """Open a local copy of the archived file `path`, see `opened`."""
    with readable(path), pa.OSFile(str(copy)) as file:
        yield file


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Replace the errors of Arrow while it reads the archived file `path`, see `opened`."""
    try:
        yield
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError) as error:
        raise CommitRefused(
            f"{path} cannot be read ({error}). The file was not changed."
            " To archive the partition again, move the file out of the lake. Then pull the partition"
        ) from error
