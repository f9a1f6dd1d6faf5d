"""Times in microseconds, for readers that know no nanoseconds. Exact ticks stand beside them.

The service's times have 100 ns. With the unit `us`, a column of times has whole microseconds, rounded down.
The column `<name>_ticks` after it holds the exact times: ticks since 1970. The Kusto type of such a column is
`TICKS_TYPE`, which Kusto does not have. Its source name is the source name of the times.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.layout import KUSTO_TYPE_KEY, SOURCE_NAME_KEY
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.model import Column, TimestampUnit
from hunting_pipeline.ticks import nanoseconds_of

__all__ = [
    "TICKS_SUFFIX",
    "TICKS_TYPE",
    "exact_column",
    "exact_values",
    "instant",
    "is_ticks",
    "refuse_two_units",
    "source_name",
    "stored_as",
    "ticks_field",
    "ticks_names",
    "unit_of",
]

TICKS_TYPE = "ticks"
"""The Kusto type of a column of exact ticks, in manifests and in the metadata of its Arrow field."""

TICKS_SUFFIX = "_ticks"

_NANOSECONDS_PER_TICK = nanoseconds_of(1)


def source_name(field: pa.Field) -> str:
    """Return the service's name of a column. A column of ticks has the name of its times."""
    return str((field.metadata or {}).get(SOURCE_NAME_KEY, field.name.encode()).decode())


def is_ticks(field: pa.Field) -> bool:
    """Return whether a column holds the exact ticks of another column."""
    return (field.metadata or {}).get(KUSTO_TYPE_KEY) == TICKS_TYPE.encode()


def ticks_field(name: str, source: str) -> pa.Field:
    """Return the field of the exact ticks of the service's column `source`."""
    return pa.field(name, pa.int64(), metadata={KUSTO_TYPE_KEY: TICKS_TYPE, SOURCE_NAME_KEY: source})


def ticks_names(schema: Iterable[pa.Field]) -> dict[str, str]:
    """Return the names of the columns of ticks, by the service's name of their times."""
    return {source_name(field): field.name for field in schema if is_ticks(field)}


def exact_column(schema: pa.Schema, time_column: str) -> str:
    """Return the name of the column with the exact times of `time_column`: the ticks, if there are any.

    Raises:
        KeyError: there is no such column.
    """
    return ticks_names(schema).get(source_name(schema.field(time_column)), time_column)


def exact_values(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the columns by the service's names. All times have nanoseconds, and no tick is lost."""
    ticks = {source: table[name] for source, name in ticks_names(table.schema).items()}
    found = {
        source_name(field): table.column(index)
        for index, field in enumerate(table.schema)
        if not is_ticks(field)
    }
    return found | {source: _as_nanoseconds(ticks[source], found[source].type) for source in ticks}


def stored_as(field: pa.Field, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert exact values to the form of a column in the lake."""
    if is_ticks(field):
        return pc.divide(values.cast(pa.int64()), _NANOSECONDS_PER_TICK)  # without a remainder
    if pa.types.is_timestamp(field.type) and field.type.unit == TimestampUnit.US:
        values = pc.floor_temporal(values, unit="microsecond")
    return values.cast(field.type)


def instant(ticks: int, column: pa.DataType) -> pa.Scalar:
    """Return an instant that can be compared with the values of an exact column, see `exact_column`."""
    if pa.types.is_integer(column):
        return pa.scalar(ticks, column)
    return pa.scalar(nanoseconds_of(ticks), pa.int64()).cast(column)


def unit_of(columns: Iterable[Column]) -> TimestampUnit | None:
    """Return the unit of the times of a file, from the columns in its manifest; None if it has no times."""
    kinds = {column.kusto_type for column in columns}
    if TICKS_TYPE in kinds:
        return TimestampUnit.US
    return TimestampUnit.NS if "datetime" in kinds else None


def refuse_two_units(
    table: str, archived: Iterable[Manifest], schema: Iterable[Column] = ()
) -> TimestampUnit | None:
    """Return the unit of a table's files; None if they have no times.

    Args:
        table: name of the table.
        archived: the manifests of some files.
        schema: the columns of the whole table.

    Raises:
        Misconfigured: some files have one unit, and some have the other.
    """
    examples = {unit_of(schema): "new files"}
    examples |= {unit_of(manifest.columns): manifest.partition.key for manifest in archived}
    examples.pop(None, None)
    if len(examples) > 1:
        raise Misconfigured(
            f"{table}: the times of {examples[TimestampUnit.US]} have microseconds, and those of"
            f" {examples[TimestampUnit.NS]} have nanoseconds, because a rewrite has not finished. The archive"
            f" is unchanged. Run `hunting rewrite {table} --timestamp-unit` with `us` or `ns`",
            everything=False,
        )
    return next(iter(examples), None)


def _as_nanoseconds(ticks: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return pc.multiply(ticks, _NANOSECONDS_PER_TICK).cast(pa.timestamp("ns", kind.tz))
