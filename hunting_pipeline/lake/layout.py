"""Where things lie in a lake, and what columns are called there.

    <lake>/_lake.json                                     whose data this is
    <lake>/<Table>/date=2026-11-20/<Table>-2026-11-20.parquet
    <lake>/<Table>/date=2026-11-20/hour=05/<Table>-2026-11-20T05.parquet
    <lake>/<Table>/_manifest/2026-11-20.json              the proof of a partition
    <lake>/_staging/<Table>/<partition>/<piece>.arrow     slices waiting for their commit

Paths are relative, with forward slashes. Names that start with `_` are passed over by Parquet readers.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from hunting_pipeline.model import DAY, HOUR, Bucket, Column, Partition, Window, ticks_of

__all__ = [
    "LAKE_FILE",
    "RESCUED",
    "data_path",
    "lake_names",
    "manifest_folder",
    "manifest_path",
    "partition_from_key",
    "staging_folder",
    "staging_path",
]

LAKE_FILE = "_lake.json"
"""Names the tenant and the layout version."""

RESCUED = "_rescued_data"
"""The column that keeps values verbatim which did not fit their type."""


def data_path(partition: Partition) -> str:
    """The one Parquet file of a partition."""
    key = partition.key
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
        ValueError: the key is neither `YYYY-MM-DD` nor `YYYY-MM-DDTHH`.
    """
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d)?", key):
        raise ValueError(f"{key!r} is not a partition key: YYYY-MM-DD, or YYYY-MM-DDTHH for an hour")
    hourly = "T" in key
    start = ticks_of(datetime.fromisoformat(f"{key}:00:00+00:00" if hourly else f"{key}T00:00:00+00:00"))
    return Partition(table, Window(start, start + (HOUR if hourly else DAY)))


def lake_names(columns: Sequence[Column]) -> tuple[str, ...]:
    """What each column is called in the lake: its own name, unless another differs from it by case alone.

    DuckDB, Spark and Hive cannot tell `LogonId` from `LogonID`. Of such a pair the name that sorts last
    (`LogonId`) stays, and the others get `_1`, `_2`, …, whatever the order of the Schema.
    """
    clashes: dict[str, list[str]] = {}
    for column in columns:
        clashes.setdefault(column.name.lower(), []).append(column.name)
    names = {}
    for same in clashes.values():
        first, *others = sorted(same, reverse=True)
        names[first] = first
        names |= {name: f"{name}_{number}" for number, name in enumerate(others, 1)}
    return tuple(names[column.name] for column in columns)
