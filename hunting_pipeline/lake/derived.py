"""Computed tables: tables that are computed from archived tables. Each partition is one Parquet file.

The paths are the same as for archived tables. Computed tables have no manifests, because no service has
counted their rows.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake import read
from hunting_pipeline.lake.layout import (
    HIVE_COLUMNS,
    data_path,
    manifest_folder,
    null_time_path,
    schema_path,
)
from hunting_pipeline.lake.listing import archived_partitions, partitions_by_day
from hunting_pipeline.lake.manifest import has_proof
from hunting_pipeline.lake.stores import ABSENT, Store
from hunting_pipeline.model import Partition

__all__ = ["dataset", "is_archived", "write"]


def is_archived(store: Store, table: str) -> bool:
    """Return whether a pull archived this table."""
    if any(store.stat(path) for path in (schema_path(table), null_time_path(table))):
        return True
    if store.folders(manifest_folder(table)):
        return True
    # schema and manifests may be missing, so the first file that can be read decides
    partitions = partitions_by_day(store, table, store.folders(table))
    proofs = (has_proof(store, partition) for partition in partitions)
    return next((proof for proof in proofs if proof is not None), False)


def dataset(store: Store, table: str, partitions: Sequence[Partition] | None = None) -> ds.Dataset:
    """Open partitions of a computed table as one dataset.

    Args:
        store: the lake's store.
        table: name of the table.
        partitions: the partitions to open, which must have files; None for all partitions.

    Raises:
        Misconfigured: there are no partitions.
        CommitRefused: a file is damaged.
    """
    if partitions is None:
        partitions = archived_partitions(store, table)
    paths = [data_path(partition) for partition in sorted(partitions)]
    if not paths:
        raise Misconfigured(f"the lake holds no partition of {table}. Materialize {table} first")
    return read.dataset_of(store, paths, schemas=paths)


def write(store: Store, partition: Partition, rows: pa.Table) -> int:
    """Replace a partition by `rows`, whole or not at all, and return the size of its file in bytes.

    Raises:
        CommitRefused: a pull archived this table, or another run replaced the partition in the meantime. The
            present file stays.
        Misconfigured: a column has the name of a column that the lake adds, or the lake cannot be written.
    """
    present = store.stat(data_path(partition))
    if is_archived(store, partition.table):
        raise CommitRefused(
            f"a pull archived {partition.table}, so a computed table cannot have this name. The archive is"
            " unchanged. Give the computed table another name"
        )
    if clashing := [name for name in rows.column_names if name.lower() in HIVE_COLUMNS]:
        raise Misconfigured(
            f"{partition}: the lake adds the columns {', '.join(sorted(HIVE_COLUMNS))} to every table."
            f" Nothing was written. Drop or rename {', '.join(clashing)}"
        )
    size = 0

    def write_rows(path: Path) -> None:
        nonlocal size
        pq.write_table(rows, path, compression="zstd")
        size = path.stat().st_size

    store.put_file(data_path(partition), write_rows, expected=present.version if present else ABSENT)
    return size
