"""The Parquet file of a partition: its row groups, its footer, and the counts of its rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from hunting_pipeline.lake.layout import FOOTER_KEY
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.micros import exact_column
from hunting_pipeline.lake.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, parquet_writer
from hunting_pipeline.lake.schema import conform
from hunting_pipeline.lake.sources import Source
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.write import proof_of, rescued_values, ticks_in
from hunting_pipeline.model import Proof, TableSpec, Window

__all__ = ["Written", "row_groups", "write_partition_file"]


@dataclass(slots=True)
class Written:
    """The counts of the rows that were written into a file.

    Attributes:
        again: rows in the spans that the replaced file covered.
        low, high: earliest and latest time (ticks).
    """

    proof: Proof = field(default_factory=lambda: Proof(0, 0))
    again: int = 0
    rescued: int = 0
    file_bytes: int = 0
    low: int | None = None
    high: int | None = None

    @property
    def time_range(self) -> tuple[int, int] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    def add(self, table: pa.Table, spec: TableSpec, spans: Sequence[Window]) -> None:
        """Count a row group."""
        self.rescued += rescued_values(table)
        if spec.time_column is None:
            self.proof += Proof(table.num_rows, 0)
            self.again += table.num_rows
            return
        ticks = ticks_in(table[exact_column(table.schema, spec.time_column)])
        self.proof += proof_of(ticks)
        self.again += sum(int(((ticks >= span.start) & (ticks < span.end)).sum()) for span in spans)
        if len(ticks):
            low, high = int(ticks.min()), int(ticks.max())
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)


def write_partition_file(
    path: Path,
    tables: Iterable[pa.Table],
    written: Written,
    *,
    schema: pa.Schema,
    manifest: Manifest,
    spec: TableSpec,
    spans: Sequence[Window],
) -> None:
    """Stream row groups into one file, and count the written rows."""
    tables = iter(tables)
    table: pa.Table | None = next(tables, schema.empty_table())
    with parquet_writer(path, schema, table) as file:
        while table is not None:
            file.write_table(table, row_group_size=ROW_GROUP_ROWS)
            written.add(table, spec, spans)
            table = None  # frees the memory before the next table is read
            table = next(tables, None)
        footer = replace(manifest, rescued=written.rescued)
        file.add_key_value_metadata({FOOTER_KEY: footer.to_json()})
    written.file_bytes = path.stat().st_size


def row_groups(
    store: Store, parts: Sequence[Source], schema: pa.Schema, spec: TableSpec
) -> Iterator[pa.Table]:
    """Yield the rows in order of time, in tables large enough for a row group.

    Segments of hash buckets are not sorted by time: except for late rows, they share one tick.
    """
    pending: list[pa.Table] = []
    rows = size = 0
    for source in parts:
        for table in source.tables(store, spec.time_column):
            pending.append(conform(table, schema))
            rows += table.num_rows
            size += table.nbytes
            if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                yield pa.concat_tables(pending)
                del table
                pending = []
                rows = size = 0
    if pending:
        yield pa.concat_tables(pending)
