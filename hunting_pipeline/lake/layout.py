"""The paths of a lake's files, the keys of their metadata, and the names of columns.

    <lake>/<Table>/date=2026-11-20/<Table>-2026-11-20.parquet
    <lake>/<Table>/date=2026-11-20/hour=05/<Table>-2026-11-20T05.parquet
    <lake>/_hunting/lake.json                                        the lake's tenant and layout version
    <lake>/_hunting/manifest/<Table>/2026-11/2026-11-20.json         the proof of a partition
    <lake>/_hunting/schema/<Table>.json                              grain and columns of all files of a table
    <lake>/_hunting/null_time/<Table>/<Table>-null_time.parquet      rows whose time is null
    <lake>/_hunting/manifest/<Table>/null_time.json                  their proof
    <lake>/_hunting/staging/<Table>/<partition>/<segment>.arrow      segments that wait for their commit
    <lake>/_hunting/locks/<Table>.lock                               one writer a table; folders only
    <lake>/_hunting/locks/files                                      one replacement at a time; folders only
    <lake>/_hunting/temporary/…                                      unfinished files; folders only

Paths are relative, with forward slashes. A table's folder holds only the Parquet files of days and hours, so
every Parquet reader can read the folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from hunting_pipeline.model import (
    HOUR,
    NULL_TIME,
    RESCUED,
    Bucket,
    Column,
    Partition,
    Window,
    partition_from_key,
)

__all__ = [
    "FOOTER_KEY",
    "HIVE_COLUMNS",
    "KUSTO_TYPE_KEY",
    "LAKE_FILE",
    "LAKE_FILE_OF_VERSION_1",
    "OWN_FOLDER",
    "SOURCE_NAME_KEY",
    "STAGED_KEY",
    "data_path",
    "lake_names",
    "lock_path",
    "manifest_folder",
    "manifest_path",
    "null_time_path",
    "partition_from_path",
    "schema_path",
    "staging_folder",
    "staging_folder_of_table",
    "staging_path",
]

OWN_FOLDER = "_hunting"
"""The folder for all files that are not tables. Parquet readers skip names that start with `_`."""

LAKE_FILE = f"{OWN_FOLDER}/lake.json"
"""The file with the lake's tenant and layout version."""

LAKE_FILE_OF_VERSION_1 = "_lake.json"
"""The same file in layout version 1, which no release wrote."""

FOOTER_KEY = b"hunting.manifest"
"""Key of the manifest in the metadata of a Parquet footer."""

STAGED_KEY = b"hunting.staged"
"""Key of the description of a staged segment in the metadata of its Arrow schema."""

KUSTO_TYPE_KEY = b"kusto"
"""Key of a column's Kusto type in the metadata of an Arrow field."""

SOURCE_NAME_KEY = b"source"
"""Key of a column's name in the service in the metadata of an Arrow field. Absent if the lake uses the same
name."""

HIVE_COLUMNS = frozenset({"date", "hour"})
"""The columns that readers derive from Hive folder names such as `date=2026-11-20`."""

_RESERVED = frozenset({RESCUED, *HIVE_COLUMNS})
"""Names of columns that the lake adds."""


def data_path(partition: Partition) -> str:
    """Return the path of a partition's Parquet file."""
    if partition.null_time:
        return null_time_path(partition.table)
    key = partition.key
    hour = f"hour={key[11:]}/" if partition.window.ticks == HOUR else ""
    return f"{partition.table}/date={key[:10]}/{hour}{partition.table}-{key}.parquet"


def null_time_path(table: str) -> str:
    """Return the path of the Parquet file with a table's null-time rows."""
    return f"{OWN_FOLDER}/null_time/{table}/{table}-{Partition(table, NULL_TIME).key}.parquet"


def manifest_folder(table: str) -> str:
    """Return the folder of a table's manifests."""
    return f"{OWN_FOLDER}/manifest/{table}"


def manifest_path(partition: Partition) -> str:
    """Return the path of a partition's manifest."""
    month = "" if partition.null_time else f"{partition.key[:7]}/"
    return f"{manifest_folder(partition.table)}/{month}{partition.key}.json"


def schema_path(table: str) -> str:
    """Return the path of a table's schema."""
    return f"{OWN_FOLDER}/schema/{table}.json"


def staging_folder_of_table(table: str) -> str:
    """Return the folder of a table's staged segments."""
    return f"{OWN_FOLDER}/staging/{table}"


def staging_folder(partition: Partition) -> str:
    """Return the folder of a partition's staged segments."""
    return f"{staging_folder_of_table(partition.table)}/{partition.key}"


def staging_path(partition: Partition, span: Window | None, bucket: Bucket | None) -> str:
    """Return the path of a staged segment. The name holds the span, so a second fetch replaces the file."""
    name = f"{span.start}-{span.end}" if span else "snapshot"
    suffix = f"-{bucket.index}of{bucket.of}" if bucket else ""
    return f"{staging_folder(partition)}/{name}{suffix}.arrow"


def lock_path(table: str) -> str:
    """Return the path of the lock that a writer of a table holds."""
    return f"{OWN_FOLDER}/locks/{table}.lock"


def partition_from_path(table: str, path: str) -> Partition | None:
    """Return the partition whose `data_path` this is; None for any other file."""
    name = path.rsplit("/", 1)[-1]
    try:
        partition = partition_from_key(table, name.removeprefix(f"{table}-").removesuffix(".parquet"))
    except ValueError:
        return None
    return partition if data_path(partition) == path else None


def lake_names(
    columns: Sequence[Column], known: Mapping[str, str] | None = None, *, reserved: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the name of each column in the lake: the service's name, if it is unique without case.

    DuckDB, Spark and Hive do not distinguish `LogonId` and `LogonID`. Of such names, the name that sorts last
    (`LogonId`) stays, and the others get `_1`, `_2`, …. The order of the Schema has no effect. A column also
    gets a number if the lake adds a column with its name (`date`, `hour`, `_rescued_data`).

    Args:
        columns: the columns, with the service's names.
        known: from the service's name to the lake's name, for the table's present columns; these stay.
        reserved: names of other columns that the lake adds to this table.
    """
    names = dict(known or {})
    taken = {name.lower() for name in (*names.values(), *reserved)} | _RESERVED
    clashing = []
    for name in sorted({column.name for column in columns} - names.keys(), reverse=True):
        if name.lower() in taken:
            clashing.append(name)
        else:
            names[name] = name
            taken.add(name.lower())
    for name in clashing:
        names[name] = next(free for n in count(1) if (free := f"{name}_{n}").lower() not in taken)
        taken.add(names[name].lower())
    return tuple(names[column.name] for column in columns)
