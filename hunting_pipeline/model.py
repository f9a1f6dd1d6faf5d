"""The values that the packages exchange: frozen, without behaviour except arithmetic.

Times are in ticks and spans are half-open, see `ticks`.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from hunting_pipeline.hunt import Hunt
from hunting_pipeline.ticks import (
    DAY,
    HOUR,
    NULL_TIME,
    SECOND,
    Window,
    datetime_of,
    iso_of,
    merge_windows,
    subtract,
    ticks_of,
)

__all__ = [
    "DAY",
    "HOUR",
    "NULL_TIME",
    "RESCUED",
    "SECOND",
    "Bin",
    "Bucket",
    "Column",
    "Grain",
    "Histogram",
    "Hunt",
    "Partition",
    "Progress",
    "Proof",
    "Receipt",
    "Report",
    "Slice",
    "Staged",
    "Step",
    "TableSpec",
    "TimestampUnit",
    "Window",
    "datetime_of",
    "iso_of",
    "merge_windows",
    "partition_from_key",
    "subtract",
    "ticks_of",
]

RESCUED = "_rescued_data"
"""The last column of a table. It keeps values that do not fit the type of their column, as JSON text."""

_NULL_TIME_KEY = "null_time"


class Grain(StrEnum):
    """The length of a partition."""

    DAY = "day"
    HOUR = "hour"

    @property
    def ticks(self) -> int:
        """Length of one partition in ticks."""
        return HOUR if self is Grain.HOUR else DAY


class TimestampUnit(StrEnum):
    """The unit of the times in a table's files. With `us`, exact ticks stand beside the times."""

    NS = "ns"
    US = "us"


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `kusto_type` is Kusto's name of its type (string, datetime, dynamic, …)."""

    name: str
    kusto_type: str


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table to archive, or one hunt.

    Attributes:
        name: the table's name in the service, or the hunt's name in the lake.
        time_column: the column by which the table is cut into slices; None for a snapshot table.
        grain: length of a partition.
        columns: columns to request, in order; empty means all.
        where: a KQL predicate that filters the rows; empty means all rows.
        bytes_per_row: first estimate of a row's JSON width in bytes; replies replace it.
        service: the Defender service of the table (a Dagster group, a section of the docs).
        evolve: True accepts new columns; False refuses a commit with new columns.
        hunt: the query that is sent instead of the table's name; None for a table.
        timestamp_unit: the unit of times in the files; None for the unit of the archive, or nanoseconds in a
            new table. The unit is no part of the query.
    """

    name: str
    time_column: str | None
    grain: Grain = Grain.DAY
    columns: tuple[str, ...] = ()
    where: str = ""
    bytes_per_row: int = 1000
    service: str = ""
    evolve: bool = True
    hunt: Hunt | None = None
    timestamp_unit: TimestampUnit | None = None

    @property
    def recountable(self) -> bool:
        """Whether a recount by time finds every late row. A snapshot cannot be counted again later."""
        return self.time_column is not None and not (self.hunt and self.hunt.late_rows_rewrite)

    @property
    def plain(self) -> bool:
        """Whether all rows are requested with all columns, as the command line requests a table."""
        return not (self.columns or self.where or self.hunt)

    @property
    def query_hash(self) -> str:
        """A hash of the query without its time range. All segments of a partition have the same hash."""
        asked = (self.time_column, self.columns, self.where, *((self.hunt.text,) if self.hunt else ()))
        return sha256(repr(asked).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One file of the lake: a day or an hour of a table, or the day of a snapshot.

    Rows whose time is null are in one more file. Its partition has the window `NULL_TIME`.
    """

    table: str
    window: Window

    @property
    def null_time(self) -> bool:
        """Whether the partition holds the rows whose time is null."""
        return self.window == NULL_TIME

    @property
    def key(self) -> str:
        """`2026-11-20` for a day, `2026-11-20T05` for an hour, or `null_time`. Dagster uses the same key."""
        if self.null_time:
            return _NULL_TIME_KEY
        text = iso_of(self.window.start)
        return text[:13] if self.window.ticks == HOUR else text[:10]

    def __str__(self) -> str:
        return f"{self.table} {self.key}"


def partition_from_key(table: str, key: str) -> Partition:
    """Return the partition that has this `Partition.key`.

    Raises:
        ValueError: the key is neither `YYYY-MM-DD` nor `YYYY-MM-DDTHH` nor `null_time`.
    """
    if key == _NULL_TIME_KEY:
        return Partition(table, NULL_TIME)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d)?", key):
        raise ValueError(f"{key!r} is not a partition key: YYYY-MM-DD, or YYYY-MM-DDTHH for an hour")
    hourly = "T" in key
    start = ticks_of(datetime.fromisoformat(f"{key}:00:00+00:00" if hourly else f"{key}T00:00:00+00:00"))
    partition = Partition(table, Window(start, start + (HOUR if hourly else DAY)))
    if partition.key != key:  # newer Pythons read T24 as the next day
        raise ValueError(f"{key!r} is not a partition key: the hours of a day are 00 … 23")
    return partition


@dataclass(frozen=True, slots=True)
class Proof:
    """A row count and a checksum: the sum of `tolong(time) % CHECKSUM_MODULUS` over the rows.

    The sum does not depend on the order of the rows. Kusto's `tolong(datetime)` gives .NET ticks: 100 ns
    since 0001-01-01. A table without a time column has checksum 0.
    """

    rows: int
    checksum: int

    def __add__(self, other: "Proof") -> "Proof":
        return Proof(self.rows + other.rows, self.checksum + other.checksum)


@dataclass(frozen=True, slots=True)
class Bin:
    """The row count and checksum of one bin of a histogram. A bin without rows is left out."""

    window: Window
    proof: Proof


@dataclass(frozen=True, slots=True)
class Histogram:
    """The service's count of rows by bin over disjoint, ascending windows.

    Bins are ascending, and each bin lies within one window. `null_time` is the number of rows whose time is
    null; 0 if the query did not count them.
    """

    windows: tuple[Window, ...]
    step: int
    bins: tuple[Bin, ...]
    null_time: int = 0

    @property
    def rows(self) -> int:
        """The row count over all windows."""
        return sum(b.proof.rows for b in self.bins)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The rows whose `hash(tostring(pack_all()), of)` is `index`. A bucket is valid only within one run."""

    index: int
    of: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows that one call fetches.

    Attributes:
        table: name of the table.
        window: the span of the time column; None for a snapshot table.
        expected: the service's newest row count and checksum.
        occupied: the occupied range: the part of the window that holds all counted rows; None without rows.
        bucket: the hash bucket, if a tick or a snapshot holds more rows than one reply; None otherwise.
        disputes: number of cuts, one inside the other, because count and rows differed.
    """

    table: str
    window: Window | None
    expected: Proof
    occupied: Window | None = None
    bucket: Bucket | None = None
    disputes: int = 0

    def recounted(self, proof: Proof) -> "Slice":
        """Return the same slice with a newer count."""
        return replace(self, expected=proof)

    def __str__(self) -> str:
        bucket = f" bucket {self.bucket.index}/{self.bucket.of}" if self.bucket else ""
        return f"{self.table} {self.window or 'snapshot'}{bucket} ({self.expected.rows} rows)"


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged segment: the rows of a slice that belong to one partition, on disk until their commit.

    Attributes:
        partition: the partition of the rows.
        span: the part of the slice's window that lies in the partition; None for a snapshot.
        bucket: the slice's hash bucket.
        proof: row count and checksum of the file.
        path: path of the Arrow IPC file, relative to the lake.
        query_hash: hash of the query at the time of the call.
        query: the KQL of the call.
        fetched_at: time of the call (ticks).
        body_bytes: this file's share of the reply's decompressed JSON, in bytes.
        rescued: number of values in `_rescued_data`.
        version: the store's version of the file; empty in the file itself.
    """

    partition: Partition
    span: Window | None
    bucket: Bucket | None
    proof: Proof
    path: str
    query_hash: str
    query: str
    fetched_at: int
    body_bytes: int
    rescued: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt of one committed partition.

    Attributes:
        partition: the committed partition.
        covered: the spans that the file covers; less than the partition while its day is not over.
        path: path of the Parquet file, relative to the lake.
        proof: row count and checksum of the file.
        file_bytes: size of the Parquet file.
        body_bytes: size of the JSON from which the rows were decoded.
        slices: number of segments in the file.
        fingerprint: fingerprint of the schema.
        columns: columns of the file, in order.
        previous_rows: row count of the replaced file; None if there was no file.
        rescued: number of values in `_rescued_data`.
        time_range: earliest and latest time in the file (ticks); None without rows or without a time column.
    """

    partition: Partition
    covered: tuple[Window, ...]
    path: str
    proof: Proof
    file_bytes: int
    body_bytes: int
    slices: int
    fingerprint: str
    columns: tuple[Column, ...]
    previous_rows: int | None = None
    rescued: int = 0
    time_range: tuple[int, int] | None = None


class Step(StrEnum):
    """A kind of step of a pull."""

    PLANNED = "planned"
    WAITING = "waiting"
    FETCHED = "fetched"
    SPLIT = "split"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a pull, sent to its observer at every step.

    Attributes:
        table: name of the table.
        step: the kind of the step.
        message: a line of text about the step.
        slices, rows: slices and rows fetched so far.
        slices_planned, rows_planned: slices and rows in total; the number of slices is an estimate.
        partitions: partitions committed so far.
        partitions_planned: partitions to commit in total.
        calls: requests sent so far, planning included.
    """

    table: str
    step: Step
    message: str
    slices: int
    slices_planned: int
    rows: int
    rows_planned: int
    partitions: int
    partitions_planned: int
    calls: int


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a pull of one table so far.

    Attributes:
        table: name of the table.
        receipts: receipts of the committed partitions, in order of their commit.
        calls: requests sent, planning included.
        running_seconds: running time charged to the tenant's quota.
        waited_seconds: time spent waiting for quota, summed over workers.
        covered: partitions with nothing to fetch, see `window.Backlog`.
        future: partitions that cannot be fetched yet, see `window.Backlog`.
        resumed: number of staged segments of an earlier run that were used.
    """

    table: str
    receipts: tuple[Receipt, ...] = ()
    calls: int = 0
    running_seconds: float = 0.0
    waited_seconds: float = 0.0
    covered: tuple[Partition, ...] = ()
    future: tuple[Partition, ...] = ()
    resumed: int = 0
