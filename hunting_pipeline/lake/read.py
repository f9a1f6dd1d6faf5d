"""The readers of the lake: a table, or some of its partitions, as an Arrow dataset or a pandas frame."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.archive import load_all, load_archive
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.micros import exact_column, refuse_two_units
from hunting_pipeline.lake.parquet import opened, readable
from hunting_pipeline.lake.stores import Entry, Store
from hunting_pipeline.lake.write import Ticks, ticks_in
from hunting_pipeline.model import RESCUED, Partition

__all__ = ["archived_ticks", "dataset", "dataset_of", "frame", "frame_of", "ticks_in_file"]

_PARALLEL = 16
"""Footers that are read at the same time."""

_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(
        cache_options=pa.CacheOptions(hole_size_limit=256 * 1024)
    )
)
"""Columns that are not further apart than this are read together: a request to a store takes longer."""


def archived_ticks(store: Store, partition: Partition, time_column: str) -> Ticks:
    """Read the times of a partition's archived rows, ascending.

    Raises:
        CommitRefused: the file is damaged.
    """
    with opened(store, data_path(partition)) as file:
        return ticks_in_file(file, time_column)


def ticks_in_file(file: pa.NativeFile, time_column: str) -> Ticks:
    """Read the times of a Parquet file, ascending."""
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    exact = exact_column(parquet.schema_arrow, time_column)
    ticks: Ticks = np.sort(ticks_in(parquet.read(columns=[exact])[exact]))
    return ticks


def dataset(store: Store, table: str, partitions: Sequence[Partition] | None = None) -> ds.Dataset:
    """Open a table's committed files as one dataset, with `date` (and `hour`) as columns.

    The schema is the union of the files' schemas, so a column that was added later is null in earlier files.
    Rows whose time is null have a null `date`. If times have microseconds, the columns of their ticks stand
    beside them.

    Args:
        store: the lake's store.
        table: name of the table.
        partitions: the partitions to open; None for all archived partitions, the null-time partition
            included. This reads every manifest of the table.

    Raises:
        Misconfigured: none of the partitions is archived, or a rewrite to another unit has not finished.
        CommitRefused: another program wrote a file, or a file is damaged.
    """
    if partitions is None:
        archived = list(load_all(store, table))
    else:
        archive = load_archive(store, table, partitions)
        for error in (archive.damaged[one] for one in partitions if one in archive.damaged):
            raise error
        archived = [archive.manifests[one] for one in sorted(partitions) if one in archive.manifests]
    if not archived:
        raise Misconfigured(
            f"the lake holds none of the requested partitions of {table}. Pull them first:"
            f" `hunting pull {table}`"
        )
    refuse_two_units(table, archived)
    newest = {manifest.fingerprint: data_path(manifest.partition) for manifest in archived}
    proven = [Entry(data_path(m.partition), m.file_bytes, m.file_version) for m in archived]
    return dataset_of(store, [entry.path for entry in proven], schemas=list(newest.values()), entries=proven)


def dataset_of(
    store: Store, paths: Sequence[str], *, schemas: Sequence[str], entries: Iterable[Entry] = ()
) -> ds.Dataset:
    """Open files of one table as one dataset, with `date` (and `hour`) as columns.

    Args:
        store: the lake's store.
        paths: paths of the files.
        schemas: paths of the files whose schemas are merged.
        entries: the versions of files, if they are known; an object store reads no other version.

    Raises:
        CommitRefused: a file is damaged.
    """
    files = store.filesystem_of(entries)

    def schema_of(path: str) -> pa.Schema:
        with readable(path), files.open_input_file(path) as file:
            return pq.read_schema(file).remove_metadata()

    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = list(pool.map(schema_of, schemas))
    hourly = any("/hour=" in path for path in paths)
    folders = [("date", pa.date32()), ("hour", pa.int8())] if hourly else [("date", pa.date32())]
    hive = ds.partitioning(pa.schema(folders), flavor="hive")
    union = pa.unify_schemas(found, promote_options="permissive")
    own = sorted(union, key=lambda field: field.name == RESCUED)
    schema = pa.schema([*own, *hive.schema])
    return ds.dataset(paths, schema=schema, format=_FORMAT, filesystem=files, partitioning=hive)


def frame(store: Store, table: str, partitions: Sequence[Partition] | None = None) -> pd.DataFrame:
    """Read the rows of `dataset` as a pandas frame. Its types are Arrow types, so times keep their 100 ns.

    Raises:
        Misconfigured: none of the partitions is archived.
    """
    return frame_of(dataset(store, table, partitions))


def frame_of(opened_: ds.Dataset) -> pd.DataFrame:
    """Read a dataset's rows as a pandas frame with Arrow's types."""
    rows: pd.DataFrame = opened_.to_table().to_pandas(types_mapper=pd.ArrowDtype)
    return rows
