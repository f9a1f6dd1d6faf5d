"""Where things lie in a lake, and what columns are called there.

    <lake>/_lake.json                                     whose data this is
    <lake>/<Table>/date=2026-11-20/<Table>-2026-11-20.parquet
    <lake>/<Table>/date=2026-11-20/hour=05/<Table>-2026-11-20T05.parquet
    <lake>/<Table>/date=__HIVE_DEFAULT_PARTITION__/<Table>-undated.parquet    rows whose time is null
    <lake>/<Table>/_manifest/2026-11-20.json              the proof of a partition
    <lake>/_staging/<Table>/<partition>/<piece>.arrow     slices waiting for their commit

Paths are relative, with forward slashes. Names that start with `_` are passed over by Parquet readers.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count

from hunting_pipeline.model import DAY, HOUR, NULL_TIME, Bucket, Column, Partition, Window, ticks_of

__all__ = [
    "HIVE_COLUMNS",
    "LAKE_FILE",
    "RESCUED",
    "data_path",
    "lake_names",
    "manifest_folder",
    "manifest_path",
    "partition_from_key",
    "partition_from_path",
    "staging_folder",
    "staging_path",
]

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What Hive, and every reader of its layout, calls the folder of a null."""

LAKE_FILE = "_lake.json"
"""Names the tenant and the layout version."""

RESCUED = "_rescued_data"
"""The column that keeps values verbatim which did not fit their type."""

HIVE_COLUMNS = frozenset({"date", "hour"})
"""The folders that Hive readers turn into columns."""

_RESERVED = frozenset({RESCUED, *HIVE_COLUMNS})
"""Names of the lake's own."""


def data_path(partition: Partition) -> str:
    """The one Parquet file of a partition."""
    key = partition.key
    if partition.null_time:
        return f"{partition.table}/date={_HIVE_NULL}/{partition.table}-{key}.parquet"
    hour = f"hour={key[11:]}/" if partition.window.ticks == HOUR else ""
    return f"{partition.table}/date={key[:10]}/{hour}{partition.table}-{key}.parquet"


def manifest_folder(table: str) -> str:
    """Where a table's manifests lie."""
    return f"{table}/_manifest"


def manifest_path(partition: Partition) -> str:
    """The manifest of a partition."""
    return f"{manifest_folder(partition.table)}/{partition.key}.json"


def staging_folder(partition: Partition) -> str:
    """Where the staged pieces of a partition lie."""
    return f"_staging/{partition.table}/{partition.key}"


def staging_path(partition: Partition, span: Window | None, bucket: Bucket | None) -> str:
    """The staged piece of a slice: named by its span, so that fetching it again replaces it."""
    name = f"{span.start}-{span.end}" if span else "snapshot"
    suffix = f"-{bucket.index}of{bucket.of}" if bucket else ""
    return f"{staging_folder(partition)}/{name}{suffix}.arrow"


def partition_from_key(table: str, key: str) -> Partition:
    """The inverse of `Partition.key`.

    Raises:
        ValueError: the key is neither `YYYY-MM-DD` nor `YYYY-MM-DDTHH` nor `undated`.
    """
    if key == Partition(table, NULL_TIME).key:
        return Partition(table, NULL_TIME)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d)?", key):
        raise ValueError(f"{key!r} is not a partition key: YYYY-MM-DD, or YYYY-MM-DDTHH for an hour")
    hourly = "T" in key
    start = ticks_of(datetime.fromisoformat(f"{key}:00:00+00:00" if hourly else f"{key}T00:00:00+00:00"))
    partition = Partition(table, Window(start, start + (HOUR if hourly else DAY)))
    if partition.key != key:  # newer Pythons read T24 as the next day
        raise ValueError(f"{key!r} is not a partition key: the hours of a day are 00 … 23")
    return partition


def partition_from_path(table: str, path: str) -> Partition | None:
    """The inverse of `data_path`; None for a file that this layout does not name."""
    name = path.rsplit("/", 1)[-1]
    try:
        partition = partition_from_key(table, name.removeprefix(f"{table}-").removesuffix(".parquet"))
    except ValueError:
        return None
    return partition if data_path(partition) == path else None


def lake_names(columns: Sequence[Column], known: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """What each column is called in the lake: its own name, unless another differs from it by case alone.

    DuckDB, Spark and Hive cannot tell `LogonId` from `LogonID`. Of such a pair the name that sorts last
    (`LogonId`) stays, and the others get `_1`, `_2`, …, whatever the order of the Schema. So does a column
    that bears a name of the lake's own (`date`, `hour`, `_rescued_data`).

    Args:
        columns: as the service names them.
        known: lake names that the table's columns have already; these stay.
    """
    names = dict(known or {})
    taken = {name.lower() for name in names.values()} | _RESERVED
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
