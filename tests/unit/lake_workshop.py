"""A lake for tests: replies are made by hand, then staged and committed as in a pull."""

import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.commit import Writer, commit
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.manifest import load
from hunting_pipeline.lake.stores import Store, open_store
from hunting_pipeline.lake.write import Origin, proof_of_reply, stage, staged_segments
from hunting_pipeline.model import (
    DAY,
    HOUR,
    Bucket,
    Column,
    Partition,
    Proof,
    Receipt,
    Slice,
    Staged,
    TableSpec,
    Window,
    ticks_of,
)
from hunting_pipeline.reply import Reply

MIDNIGHT = ticks_of(date(2026, 11, 20))
EVENTS = TableSpec("DeviceEvents", "Timestamp")
SNAPSHOT = TableSpec("DeviceTvmSoftwareInventory", None)
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
TIME = pa.timestamp("ns", "UTC")
NOON = MIDNIGHT + 12 * HOUR

Values = Mapping[str, tuple[str, pa.DataType, Sequence[Any]]]
"""Column names with Kusto's name of the type, the Arrow type, and the values."""


def day(number: int = 0, table: str = EVENTS.name) -> Partition:
    """Return the partition of 20 November 2026, or of the given number of days later."""
    return Partition(table, Window(MIDNIGHT + number * DAY, MIDNIGHT + (number + 1) * DAY))


def text(*values: str | None) -> tuple[str, pa.DataType, Sequence[Any]]:
    return "string", pa.string(), values


def reply(ticks: Sequence[int] | None, columns: Values | None = None, *, rescued: int = 0) -> Reply:
    """Build a decoded reply with these instants in `Timestamp`; None means a table without a time column."""
    columns = dict(columns or {})
    if ticks is not None:
        columns = {"Timestamp": ("datetime", TIME, ticks), **columns}
    arrays = {
        name: pa.array([t * 100 for t in values], pa.int64()).cast(TIME)
        if name == "Timestamp" and ticks is not None
        else pa.array(values, arrow)
        for name, (_, arrow, values) in columns.items()
    }
    table = pa.table(arrays)
    if rescued:
        notes = ['{"A":"99999999999"}'] * rescued + [None] * (table.num_rows - rescued)
        table = table.append_column("_rescued_data", pa.array(notes, pa.string()))
    named = tuple(Column(name, kusto) for name, (kusto, _, _) in columns.items())
    return Reply(named, table, {}, 100 * table.num_rows, rescued)


@dataclass
class Workshop:
    """A store and the clock of its runs. Every step is a second later."""

    root: Path
    spec: TableSpec = EVENTS
    tenant: str = TENANT
    now: int = MIDNIGHT + 2 * DAY
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(str(self.root))

    def tick(self) -> int:
        self.now += 10_000_000
        return self.now

    def stage(
        self,
        answer: Reply,
        window: Window | None = None,
        *,
        partitions: Sequence[Partition] | None = None,
        bucket: Bucket | None = None,
    ) -> tuple[Staged, ...]:
        expected = proof_of_reply(answer, self.spec) if window else Proof(answer.table.num_rows, 0)
        return stage(
            self.store,
            answer,
            slice_=Slice(self.spec.name, window, expected, window, bucket),
            spec=self.spec,
            partitions=partitions or [day(table=self.spec.name)],
            origin=Origin(f"{self.spec.name} | where 1 == 1", self.tick()),
        )

    def staged(self, *, edge: int = 0) -> tuple[Staged, ...]:
        """Return the segments that the next run uses."""
        archive = {manifest.partition: manifest for manifest in load_all(self.store, self.spec.name)}
        return staged_segments(self.store, self.spec.name, self.spec.query_hash, archive, edge=edge)

    def commit(self, staged: Sequence[Staged], partition: Partition | None = None, **changes: Any) -> Receipt:
        partition = partition or day(table=self.spec.name)
        writer = Writer(self.tenant, "graph", "hunting-pipeline 0", "run")
        return commit(
            self.store,
            partition,
            **{
                "staged": staged,
                "archived": load(self.store, partition),
                "spec": self.spec,
                "writer": writer,
                "now": self.tick(),
            }
            | changes,
        )

    def land(
        self,
        ticks: Sequence[int] | None,
        window: Window | None = None,
        columns: Values | None = None,
        *,
        partition: Partition | None = None,
        **changes: Any,
    ) -> Receipt:
        """Stage one reply and commit its partition."""
        partition = partition or day(table=self.spec.name)
        if ticks is not None and window is None:
            window = partition.window
        return self.commit(
            self.stage(reply(ticks, columns), window, partitions=[partition]), partition, **changes
        )

    def file(self, partition: Partition | None = None) -> Path:
        return self.root / data_path(partition or day(table=self.spec.name))

    def rows(self, partition: Partition | None = None) -> pa.Table:
        return pq.ParquetFile(self.file(partition)).read()

    def ticks(self, partition: Partition | None = None) -> list[int]:
        return [moment // 100 for moment in self.rows(partition)["Timestamp"].cast(pa.int64()).to_pylist()]

    def contents(self) -> dict[str, bytes]:
        """Return every file of the lake except locks, by path."""
        files = (
            path for path in sorted(self.root.rglob("*")) if path.is_file() and path.parent.name != "locks"
        )
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in files}


@contextmanager
def files_no_longer_than(length: int) -> Iterator[None]:
    """Limit the length of every file: a longer write fails like on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
