"""The values that rooms exchange: frozen, without behaviour beyond arithmetic on themselves.

Time is counted in *ticks*: 100-ns units since 1970-01-01T00:00:00Z, as plain integers, because that is the
resolution of Kusto's datetime and a Python `datetime` only holds microseconds. Every span is half-open:
its start belongs to it, its end does not.
"""

from dataclasses import dataclass, replace
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
    "Window",
    "datetime_of",
    "iso_of",
    "merge_windows",
    "subtract",
    "ticks_of",
]


class Grain(StrEnum):
    """How long a partition is."""

    DAY = "day"
    HOUR = "hour"

    @property
    def ticks(self) -> int:
        """Length of one partition in ticks."""
        return HOUR if self is Grain.HOUR else DAY


@dataclass(frozen=True, slots=True)
class Column:
    """A column as a Schema names it: `kusto_type` is Kusto's own word (string, datetime, dynamic, …)."""

    name: str
    kusto_type: str


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table to archive, or one hunt.

    Attributes:
        name: the table's name in the service; of a hunt, what it is called in the lake.
        time_column: the column that slices are cut by; None for a snapshot table.
        grain: length of a partition.
        columns: columns to ask for, in order; empty means all.
        where: a KQL predicate that every row must fulfil; empty means all rows.
        bytes_per_row: first guess of a row's JSON width in bytes, replaced by what replies teach.
        service: the Defender service it belongs to (a Dagster group, a section of the docs).
        evolve: whether new columns are taken in (True) or stop the partition (False).
        hunt: the query to ask in the table's place.
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

    @property
    def recountable(self) -> bool:
        """Whether counts of its rows by time tell all that late rows do to it. A snapshot has moved on."""
        return self.time_column is not None and not (self.hunt and self.hunt.late_rows_rewrite)

    @property
    def plain(self) -> bool:
        """Whether all its rows are asked for with all their columns, as the command line asks for a table."""
        return not (self.columns or self.where or self.hunt)

    @property
    def query_hash(self) -> str:
        """Identifies what is asked of a row: pieces of one partition must agree on it."""
        asked = (self.time_column, self.columns, self.where, *((self.hunt.text,) if self.hunt else ()))
        return sha256(repr(asked).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One file of the lake: a day or an hour of a table; of a snapshot table, the day it was taken.

    The rows of a table whose time is null share one more file, the partition of `UNDATED`.
    """

    table: str
    window: Window

    @property
    def null_time(self) -> bool:
        """Whether it holds the rows without a time."""
        return self.window == NULL_TIME

    @property
    def key(self) -> str:
        """`2026-11-20` for a day, `2026-11-20T05` for an hour: the same in the lake and in Dagster."""
        if self.null_time:
            return "undated"
        text = iso_of(self.window.start)
        return text[:13] if self.window.ticks == HOUR else text[:10]

    def __str__(self) -> str:
        return f"{self.table} {self.key}"


@dataclass(frozen=True, slots=True)
class Proof:
    """How many rows, and the sum over them of `dotnet_ticks(time) % 1000000007`: an order-free checksum.

    .NET ticks (100 ns since 0001-01-01) are what Kusto's `tolong(datetime)` gives. A table without a time
    column has checksum 0.
    """

    rows: int
    checksum: int

    def __add__(self, other: "Proof") -> "Proof":
        return Proof(self.rows + other.rows, self.checksum + other.checksum)


@dataclass(frozen=True, slots=True)
class Bin:
    """What the service counted in one span of a histogram; bins of no rows are left out."""

    window: Window
    proof: Proof


@dataclass(frozen=True, slots=True)
class Histogram:
    """Rows by bin over disjoint, ascending windows. Bins are ascending and never cross a window's edge.

    `undated` counts the table's rows whose time is null, where the histogram was asked for them.
    """

    windows: tuple[Window, ...]
    step: int
    bins: tuple[Bin, ...]
    null_time: int = 0

    @property
    def rows(self) -> int:
        """Rows over all windows."""
        return sum(b.proof.rows for b in self.bins)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The rows whose `hash(tostring(pack_all()), of)` is `index`. Valid only within one run."""

    index: int
    of: int


@dataclass(frozen=True, slots=True)
class Slice:
    """What one call fetches.

    Attributes:
        table: name of the table.
        window: the span of its time column; None for a snapshot table.
        expected: what the service counted when the slice was planned.
        hull: the part of the window in which rows were counted; None where there were none.
        bucket: the hash bucket, where one tick (or a snapshot) is still too much.
    """

    table: str
    window: Window | None
    expected: Proof
    occupied: Window | None = None
    bucket: Bucket | None = None

    def recounted(self, proof: Proof) -> "Slice":
        """The same slice with a newer count."""
        return replace(self, expected=proof)

    def __str__(self) -> str:
        bucket = f" bucket {self.bucket.index}/{self.bucket.of}" if self.bucket else ""
        return f"{self.table} {self.window or 'snapshot'}{bucket} ({self.expected.rows} rows)"


@dataclass(frozen=True, slots=True)
class Staged:
    """A slice's rows for one partition, waiting on disk for their commit.

    Attributes:
        partition: where the rows belong.
        span: the part of the slice's window that lies in the partition; None for a snapshot.
        bucket: as in the slice.
        tally: rows and checksum of what lies in the file.
        path: the Arrow IPC file, relative to the lake.
        shape: of the table spec that asked for it.
        query: the KQL that brought it.
        fetched_at: when (ticks).
        body_bytes: this file's share of the reply's decoded JSON, in bytes.
        rescued: values that did not fit their type and were kept as text.
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


@dataclass(frozen=True, slots=True)
class Receipt:
    """A partition was committed.

    Attributes:
        partition: which.
        covered: the spans its file now covers; less than the partition while that is still running.
        path: of the Parquet file, relative to the lake.
        tally: rows and checksum of the file.
        file_bytes: size of the Parquet file.
        body_bytes: JSON bytes that brought it.
        slices: pieces it was made of.
        fingerprint: of its schema.
        columns: its columns in order.
        previous_rows: rows of the file it replaced; None if there was none.
        rescued: values kept verbatim in `_rescued_data`.
        time_range: least and greatest time in the file (ticks); None if it has no rows or no time.
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
    """What a pull just did."""

    PLANNED = "planned"
    WAITING = "waiting"
    FETCHED = "fetched"
    SPLIT = "split"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull has come; sent after every step.

    Attributes:
        table: which.
        step: what just happened.
        message: the same for a person, in one line.
        slices, rows: fetched so far.
        slices_planned, rows_planned: expected in all; slices are an estimate that replies correct.
        partitions: committed so far.
        partitions_planned: to commit in all.
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
    """What a pull of one table has done so far.

    Attributes:
        table: which.
        receipts: partitions committed, in order of their commit.
        calls: requests sent, planning included.
        running_seconds: running time charged to the tenant's quota.
        waited_seconds: time spent waiting for quota, summed over workers.
        covered: partitions that needed nothing.
        future: partitions that have not begun, or not yet settled.
        resumed: staged pieces of an earlier run that were used.
    """

    table: str
    receipts: tuple[Receipt, ...] = ()
    calls: int = 0
    running_seconds: float = 0.0
    waited_seconds: float = 0.0
    covered: tuple[Partition, ...] = ()
    future: tuple[Partition, ...] = ()
    resumed: int = 0
