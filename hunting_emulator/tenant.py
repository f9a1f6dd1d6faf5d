# ruff: noqa: S608 - this module generates SQL; it defines all names, and one function quotes the literals
"""A tenant: its clock, its tables, and the DuckDB database that generates and stores their rows."""

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from hunting_emulator import ticks
from hunting_emulator.kql.bounds import ALWAYS
from hunting_emulator.kql.compiler import Catalogue, Source
from hunting_emulator.kql.typed import MACROS
from hunting_emulator.schema import Drift, tables
from hunting_emulator.sources import ARRIVAL, Loaded, Synthetic, View, kusto_type, stored, table_seed
from hunting_emulator.synthesis import macros, volume
from hunting_emulator.synthesis.volume import Burst, Volume

# DuckDB's share of the 1.5 GB of a process; replies are buffered outside DuckDB, in spooled files
_MEMORY = "700MB"


@dataclass(frozen=True, slots=True)
class TenantOptions:
    """The contents of a tenant. The same options give the same rows.

    `rows` is the number of rows of tables in 30 days. The default is the number in the catalogue times
    `scale`. `now` is the current instant in ticks, frozen unless `clock_runs`; None means the real clock.
    Events begin `history_days` before the first `now`. In tables with a time column, `late_share` of the rows
    arrive up to `late_seconds` after their time. `drift` changes the schema of tables.
    """

    seed: int = 7
    scale: float = 1.0
    rows: Mapping[str, int] = field(default_factory=dict)
    bursts: Mapping[str, tuple[Burst, ...]] = field(default_factory=dict)
    unlicensed: frozenset[str] = frozenset()
    now: int | None = None
    clock_runs: bool = False
    history_days: int = 45
    late_share: float = 0.0
    late_seconds: float = 0.0
    drift: Mapping[str, Drift] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _LoadedTable:
    relation: str
    columns: tuple[tuple[str, str], ...]
    time_column: str | None
    has_arrival: bool


class Tenant:
    """The rows of one tenant, and the rules for their visibility."""

    def __init__(self, options: TenantOptions | None = None, *, spill: Path | None = None) -> None:
        """Create the tables. `spill` is DuckDB's folder for temporary data; None means a temporary folder."""
        self.options = options or TenantOptions()
        for name in [*self.options.rows, *self.options.bursts]:
            if name not in tables():
                raise ValueError(f"unknown hunting table {name!r}")
        self._set_at = time.monotonic()
        self._origin = self.now() // ticks.DAY * ticks.DAY - self.options.history_days * ticks.DAY
        self._loaded: dict[str, _LoadedTable] = {}
        self._lock = threading.Lock()
        self._calls = 0
        self._spill = None if spill else tempfile.TemporaryDirectory(prefix="tenant-")
        folder = spill or Path(self._spill.name if self._spill else ".")
        self._database = duckdb.connect(
            config={
                "threads": 2,
                "memory_limit": _MEMORY,
                "temp_directory": str(folder),
                "preserve_insertion_order": False,
            }
        )
        for macro in (*MACROS, *macros.macros(), *volume.macros()):
            self._database.execute(f"CREATE MACRO {macro}")

    def close(self) -> None:
        """Free the memory and delete temporary files."""
        self._database.close()
        if self._spill:
            self._spill.cleanup()

    def now(self) -> int:
        """Return the current instant of this tenant, in ticks."""
        if self.options.now is not None:
            passed = time.monotonic() - self._set_at if self.options.clock_runs else 0.0
            return self.options.now + int(passed * ticks.SECOND)
        return ticks.from_datetime(datetime.now(UTC))

    def configure(self, **changes: object) -> None:
        """Replace options of a running tenant: `now`, `late_share`, `late_seconds`, `unlicensed`, `drift`."""
        if "now" in changes:
            self._set_at = time.monotonic()
        self.options = replace(self.options, **changes)  # type: ignore[arg-type]

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Open a separate connection for one thread."""
        with self._lock:
            return self._database.cursor()

    def catalogue(self, cursor: duckdb.DuckDBPyConnection, retention_ticks: int | None = None) -> Catalogue:
        """Return the environment of a query at this moment. Rows older than the retention are not visible."""
        now = self.now()
        with self._lock:
            self._calls += 1
            salt = self._calls
        options = self.options
        view = View(
            floor=now - retention_ticks if retention_ticks is not None else 0,
            now=now,
            late_share=options.late_share,
            late_ticks=round(options.late_seconds * ticks.SECOND),
            salt=salt,
        )
        return Catalogue(lambda name: self._source(name, view), now, _evaluator(cursor))

    def _source(self, name: str, view: View) -> Source | None:
        if name in self.options.unlicensed:
            return None
        loaded = self._loaded.get(name)
        if loaded is not None:
            return Loaded(loaded.relation, loaded.columns, loaded.time_column, loaded.has_arrival, view)
        schema = tables().get(name)
        if schema is None:
            return None
        if name in self.options.drift:
            schema = self.options.drift[name].applied(schema)
        rows = self.options.rows.get(name, round(schema.rows * self.options.scale))
        bursts = self.options.bursts.get(name, ())
        return Synthetic(
            schema, Volume(table_seed(self.options.seed, name), rows, self._origin, bursts), view
        )

    def load(self, table: str, data: pa.Table | Path | str) -> None:
        """Replace a table by given rows, from Arrow or a Parquet file.

        A column of the catalogue keeps its Kusto type. Any other column gets its type from the Arrow column.
        Integers in a datetime column are .NET ticks. A column `_arrival` hides each row until that instant.
        """
        given = pq.read_table(data) if isinstance(data, Path | str) else data
        known = dict(tables()[table].columns) if table in tables() else {}
        kinds = {
            name: "datetime"
            if name == ARRIVAL
            else known.get(name) or kusto_type(given.schema.field(at).type)
            for at, name in enumerate(given.column_names)
        }
        names = [name for name in given.column_names if name != ARRIVAL]
        arrays = [stored(given.column(name), kinds[name]) for name in given.column_names]
        inner = ["arrival" if name == ARRIVAL else f"c{names.index(name)}" for name in given.column_names]
        body = ", ".join(
            f"nullif(json({ref})::VARCHAR, 'null') AS {ref}" if kinds[name] == "dynamic" else ref
            for name, ref in zip(given.column_names, inner, strict=True)
        )
        relation = f"loaded_{len(self._loaded)}_{table}"
        cursor = self.cursor()
        cursor.register("given", pa.table(arrays, names=inner))
        cursor.execute(f"CREATE OR REPLACE TABLE {relation} AS SELECT {body} FROM given")
        cursor.unregister("given")
        time_column = tables()[table].time_column if table in tables() else None
        time_column = time_column or ("Timestamp" if table not in tables() and "Timestamp" in names else None)
        columns_ = tuple((name, kinds[name]) for name in names)
        self._loaded[table] = _LoadedTable(relation, columns_, time_column, ARRIVAL in given.column_names)

    def columns(self, table: str) -> tuple[tuple[str, str], ...]:
        """Return names and Kusto types of a table's columns. Raise KeyError for an unknown table."""
        source = self._source(table, View(0, self.now()))
        if source is None:
            raise KeyError(table)
        return source.columns

    def rows(self, table: str, start: int | None = None, end: int | None = None) -> pa.Table:
        """Return the rows that exist now with `start <= time < end` (.NET ticks), without the API.

        Datetimes and timespans are int64 ticks, dynamic is JSON text, and no retention applies. Without
        bounds, the result includes rows with a null time.
        """
        cursor = self.cursor()
        catalogue = self.catalogue(cursor)
        source = catalogue.table(table)
        if source is None:
            raise KeyError(table)
        names = [name for name, _ in source.columns]
        spans, test = ALWAYS, "true"
        if (start is not None or end is not None) and source.time_column is not None:
            low, high = start or 0, end if end is not None else ALWAYS[0][1]
            time = f"c{names.index(source.time_column)}"
            spans, test = ((low, high),), f"{time} >= {low} AND {time} < {high}"
        found = cursor.sql(f"SELECT * FROM ({source.scan(spans)}) WHERE {test}").to_arrow_table()
        return found.rename_columns(names)


def _evaluator(cursor: duckdb.DuckDBPyConnection) -> Callable[[str], object]:
    def evaluate(sql: str) -> object:
        rows = cursor.execute(sql).fetchall()
        return rows[0][0] if rows else None

    return evaluate
