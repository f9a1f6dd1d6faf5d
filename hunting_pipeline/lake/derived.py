"""Tables that are computed from archived ones: laid out as those are, a partition one Parquet file.

They have no manifest, for no service can be asked whether they are complete.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake import read
from hunting_pipeline.lake.layout import HIVE_COLUMNS, data_path, manifest_folder
from hunting_pipeline.lake.manifest import archived_partitions, has_proof
from hunting_pipeline.lake.store import Store
from hunting_pipeline.model import Partition

__all__ = ["dataset", "is_archived", "write"]


def is_archived(store: Store, table: str) -> bool:
    """Whether the lake holds this table as the service gave it, so that its manifests tell what is there."""
    if store.list(manifest_folder(table)):
        return True
    partitions = archived_partitions(store, table)  # manifests can be lost
    return bool(partitions) and has_proof(store, partitions[0])


def dataset(store: Store, table: str, partitions: Sequence[Partition] | None = None) -> ds.Dataset:
    """Partitions of a computed table as one dataset.

    Args:
        partitions: only these, each of which is there; None for all.

    Raises:
        Misconfigured: there are none.
        CommitRefused: a file is damaged.
    """
    if partitions is None:
        partitions = archived_partitions(store, table)
    paths = [data_path(partition) for partition in sorted(partitions)]
    if not paths:
        raise Misconfigured(f"the lake holds nothing of {table}: materialize it first")
    return read.dataset_of(store, paths, schemas=paths)


def write(store: Store, partition: Partition, rows: pa.Table) -> int:
    """Replace a partition by `rows`, whole or not at all; gives the bytes of its file.

    Raises:
        CommitRefused: the table is archived from the service, and is not to be overwritten.
        Misconfigured: a column bears the name of one that the layout adds, or the lake cannot be written.
    """
    if is_archived(store, partition.table):
        raise CommitRefused(
            f"{partition.table} is archived from the service: give the computed table another name"
        )
    if clashing := [name for name in rows.column_names if name.lower() in HIVE_COLUMNS]:
        raise Misconfigured(
            f"{partition}: drop or rename {', '.join(clashing)}: the lake's folders give every table"
            f" the columns {', '.join(sorted(HIVE_COLUMNS))}"
        )
    with store.put_file(data_path(partition)) as temporary:
        pq.write_table(rows, temporary, compression="zstd")
    return store.size(data_path(partition)) or 0
