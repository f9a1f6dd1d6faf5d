# ruff: noqa: S608 - this module generates SQL; it defines all names, and one function quotes the literals
"""The two kinds of tables: with rows that are generated from a seed on demand, and with loaded rows."""

import zlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from hunting_emulator import ticks
from hunting_emulator.kql.bounds import Spans, intersect
from hunting_emulator.kql.typed import Typed, convert
from hunting_emulator.schema import TableSchema
from hunting_emulator.synthesis.columns import column_sql
from hunting_emulator.synthesis.volume import Volume

ARRIVAL = "_arrival"


@dataclass(frozen=True, slots=True)
class View:
    """The visible part of a table. All instants are in ticks.

    Rows older than `floor` are past retention. Rows that arrive after `now` are not visible yet. Of the
    synthetic rows, `late_share` arrive up to `late_ticks` after their time. Each call has another `salt`, so
    the order of rows differs between calls.
    """

    floor: int
    now: int
    late_share: float = 0.0
    late_ticks: int = 0
    salt: int = 0


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A table whose rows are a function of the seed."""

    schema: TableSchema
    volume: Volume
    view: View

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        return self.schema.columns

    @property
    def time_column(self) -> str | None:
        return self.schema.time_column

    def scan(self, spans: Spans) -> str:
        """Return SQL of c0, c1, .... Time bins outside the spans are not expanded to rows."""
        seed, view = self.volume.seed, self.view
        if self.schema.time_column is None:
            rows = (
                f"SELECT i, {self.volume.origin} + (hash(i, {seed}, 3) % {30 * ticks.DAY})::BIGINT AS ts"
                f" FROM (SELECT range AS i FROM range({self.volume.rows}))"
            )
        else:
            allowed = intersect(spans, ((view.floor, view.now + 1),))
            rows = (
                f"SELECT i, start + (hash(i, {seed}, 3) % width::UBIGINT)::BIGINT AS ts FROM ("
                f"SELECT unnest(range(id, id + n)) AS i, start, width FROM"
                f" (SELECT * FROM ({self.volume.bins(allowed, view.now + 1)}) WHERE n > 0"
                f" ORDER BY hash(id, {view.salt})))"
            )
        chosen = ", ".join(f"{sql} AS c{at}" for at, sql in enumerate(self._cells()))
        return (
            f"SELECT {chosen} FROM (SELECT i, ts, hash(i, {seed}) AS h FROM ({rows})) WHERE {self._visible()}"
        )

    def _cells(self) -> list[str]:
        schema = self.schema
        return [
            "ts" if name == schema.time_column else self._cell(name, kind) for name, kind in schema.columns
        ]

    def _cell(self, name: str, kind: str) -> str:
        before = self.schema.retyped.get(name, kind)
        sql = column_sql(self.schema, name, before)
        return convert(Typed(sql, before), kind).sql

    def _visible(self) -> str:
        view = self.view
        if self.schema.time_column is None:
            return "true"
        seen = f"ts >= {view.floor} AND ts <= {view.now}"
        if view.late_share and view.late_ticks:
            late = f"hash(h, 7) % 1000000 < {round(view.late_share * 1_000_000)}"
            seen += f" AND NOT ({late} AND ts + (hash(h, 8) % {view.late_ticks})::BIGINT > {view.now})"
        return seen


@dataclass(frozen=True, slots=True)
class Loaded:
    """A table whose rows are in the DuckDB table `relation`.

    The columns of `relation` are c0, c1, ... and optionally `arrival`.
    """

    relation: str
    columns: tuple[tuple[str, str], ...]
    time_column: str | None
    has_arrival: bool
    view: View

    def scan(self, spans: Spans) -> str:  # noqa: ARG002 - the query's own predicate is enough
        """Return SQL of c0, c1, ... of every visible row."""
        names = [name for name, _ in self.columns]
        tests = ["true"]
        if self.time_column in names and self.view.floor > 0:
            time = f"c{names.index(self.time_column)}"
            tests.append(f"({time} >= {self.view.floor} OR {time} IS NULL)")
        if self.has_arrival:
            tests.append(f"arrival <= {self.view.now}")
        chosen = ", ".join(f"c{at}" for at in range(len(names)))
        return f"SELECT {chosen} FROM {self.relation} WHERE {' AND '.join(tests)}"


def table_seed(seed: int, table: str) -> int:
    """Return the seed of one table of a tenant."""
    return zlib.crc32(f"{seed}/{table}".encode())


_ARROW_KINDS = (
    (pa.types.is_timestamp, "datetime"),
    (pa.types.is_duration, "timespan"),
    (pa.types.is_boolean, "bool"),
    (pa.types.is_int64, "long"),
    (pa.types.is_integer, "int"),
    (pa.types.is_floating, "real"),
    (pa.types.is_decimal, "decimal"),
)


def kusto_type(arrow: pa.DataType) -> str:
    """Return the Kusto type of an Arrow column that the catalogue does not contain."""
    return next((kind for test, kind in _ARROW_KINDS if test(arrow)), "string")


def stored(values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Convert a column to its stored form. Times become ticks, and null strings become empty strings.

    Integers in a column of times are ticks already.
    """
    arrow = values.type
    if kind in ("datetime", "timespan") and not pa.types.is_integer(arrow):
        return _as_ticks(values, ticks.UNIX_EPOCH if kind == "datetime" else 0)
    if kind == "string":
        return pc.fill_null(values.cast(pa.string()), "")
    wanted = {"bool": pa.bool_(), "int": pa.int32(), "real": pa.float64()}
    wanted |= dict.fromkeys(("long", "datetime", "timespan"), pa.int64())
    return values.cast(wanted.get(kind, arrow if kind == "decimal" else pa.string()))


def _as_ticks(values: pa.ChunkedArray, shift: int) -> pa.ChunkedArray:
    whole = values.cast(pa.int64())
    if values.type.unit == "ns":
        scaled = pc.divide(whole, 100)
    else:
        scaled = pc.multiply(
            whole, {"s": ticks.SECOND, "ms": ticks.MILLISECOND, "us": ticks.MICROSECOND}[values.type.unit]
        )
    return pc.add(scaled.cast(pa.int64()), shift)
