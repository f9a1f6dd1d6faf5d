"""One schema for many replies: columns are only added, and a type is only widened without loss.

The metadata of a field hold its Kusto type. They also hold the service's name of the column, if its name in
the lake differs. So a column keeps its name in the lake for all replies. If times have microseconds in the
lake, their exact ticks have columns of their own, see `micros`.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

import pyarrow as pa

from hunting_pipeline.errors import CommitRefused, setting
from hunting_pipeline.lake.layout import KUSTO_TYPE_KEY, SOURCE_NAME_KEY, lake_names
from hunting_pipeline.lake.micros import (
    TICKS_SUFFIX,
    exact_values,
    is_ticks,
    source_name,
    stored_as,
    ticks_field,
    ticks_names,
)
from hunting_pipeline.model import RESCUED, Column, TableSpec, TimestampUnit

__all__ = ["columns_of", "conform", "fingerprint", "merged"]

_WIDER = {
    (pa.int32(), pa.int64()): pa.int64(),
    (pa.int32(), pa.float64()): pa.float64(),
}
"""Pairs of types, and the type that holds both without loss. int64 and float64 are not a pair: float64 loses
integers above 2^53."""
_PLAIN_TEXT = {b"", b"string", b"guid"}
"""Kusto types whose string column holds the value itself. For every other type, it holds JSON."""


def merged(spec: TableSpec, known: pa.Schema | None, schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Merge schemas into one schema for all rows. Columns have their lake names; `_rescued_data` is last.

    Times have the unit of the spec. If the spec has none, they have the unit of the archive.

    Args:
        spec: the table; `evolve=False` refuses new columns and wider types.
        known: the schema of the table's archive; None at its first commit.
        schemas: the schemas of staged segments and archived files.

    Raises:
        CommitRefused: a column changed its type and no type holds both, or the spec refuses changes.
    """
    schemas = list(schemas)
    ticks = dict(found for schema in (*schemas, known or ()) for found in ticks_names(schema).items())
    before = _exact(known or ())
    fields = {source_name(field): field for field in before}
    taken = {source: field.name for source, field in fields.items()}
    if spec.time_column is not None:
        taken.setdefault(spec.time_column, spec.time_column)
    for schema in schemas:
        for field in _exact(schema):
            fields[source_name(field)] = _widened(spec, fields.get(source_name(field)), field)
    names = lake_names([Column(source, "") for source in fields], taken, reserved=ticks.values())
    fields = {
        source: _named(field, name, source)
        for (source, field), name in zip(fields.items(), names, strict=True)
    }
    exact = pa.schema(fields.values())
    if known is not None and not spec.evolve and fingerprint(exact) != fingerprint(pa.schema(before)):
        changed = sorted({*exact.names} ^ {field.name for field in before}) or ["types"]
        raise CommitRefused(
            f"{spec.name}: the schema changed ({', '.join(changed)}) and its policy is freeze."
            " The archive is unchanged. Run again to fetch the rows again. To accept the change, set"
            " `policy: evolve` for this table in its `defs.yaml`"
        )
    micros = spec.timestamp_unit is TimestampUnit.US or (spec.timestamp_unit is None and ticks)
    own = _with_ticks(exact, ticks) if micros else exact
    return pa.schema([*own, pa.field(RESCUED, pa.string())])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Convert rows to the merged schema: rename and widen columns, and fill missing columns with null.

    Times get the unit of the schema, and no tick is lost.
    """
    present = exact_values(table)
    columns = [
        stored_as(field, present[source])
        if (source := source_name(field)) in present
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """Return lake names and Kusto types, without `_rescued_data`."""
    return tuple(Column(field.name, _kusto(field).decode()) for field in _own(schema))


def fingerprint(schema: pa.Schema) -> str:
    """Return a hash of the columns' names, Kusto types and Arrow types, in order: sixteen hex digits."""
    lines = [
        f"{column.name}\t{column.kusto_type}\t{schema.field(column.name).type}"
        for column in columns_of(schema)
    ]
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def _own(fields: Iterable[pa.Field]) -> list[pa.Field]:
    """Return all columns but `_rescued_data`."""
    return [field for field in fields if field.name != RESCUED]


def _exact(fields: Iterable[pa.Field]) -> list[pa.Field]:
    """Return the service's columns. All times have nanoseconds."""
    return [
        field.with_type(pa.timestamp("ns", field.type.tz)) if pa.types.is_timestamp(field.type) else field
        for field in _own(fields)
        if not is_ticks(field)
    ]


def _with_ticks(exact: pa.Schema, known: Mapping[str, str]) -> list[pa.Field]:
    """Return the columns with times in microseconds, each followed by the column of its ticks.

    `known` are the present names of columns of ticks, by the service's name of their times.
    """
    times = [field for field in exact if pa.types.is_timestamp(field.type)]
    new = [field for field in times if source_name(field) not in known]
    wanted = [Column(f"{field.name}{TICKS_SUFFIX}", "") for field in new]
    given = lake_names(wanted, reserved=[*exact.names, *known.values()])
    names = {**known, **dict(zip(map(source_name, new), given, strict=True))}
    found: list[pa.Field] = []
    for field in exact:
        if pa.types.is_timestamp(field.type):
            source = source_name(field)
            micros = field.with_type(pa.timestamp("us", field.type.tz))
            found += [micros, ticks_field(names[source], source)]
        else:
            found.append(field)
    return found


def _named(field: pa.Field, name: str, source: str) -> pa.Field:
    metadata = {KUSTO_TYPE_KEY: _kusto(field)}
    return field.with_name(name).with_metadata(
        metadata if name == source else metadata | {SOURCE_NAME_KEY: source}
    )


def _kusto(field: pa.Field) -> bytes:
    return bytes((field.metadata or {}).get(KUSTO_TYPE_KEY, b""))


def _holds_json(field: pa.Field) -> bool:
    return bool(field.type == pa.string()) and _kusto(field) not in _PLAIN_TEXT


def _type(field: pa.Field) -> str:
    return f"{field.type} of JSON" if _holds_json(field) else str(field.type)


def _widened(spec: TableSpec, old: pa.Field | None, new: pa.Field) -> pa.Field:
    if old is None:
        return new
    if old.type == new.type and _holds_json(old) == _holds_json(new):
        return old
    if _WIDER.get((new.type, old.type)) == old.type:
        return old
    if _WIDER.get((old.type, new.type)) == new.type:
        return new
    raise CommitRefused(
        f"{spec.name}: column {new.name} changed its type from {_type(old)} to {_type(new)}. No type holds"
        " both without loss. The archive is unchanged. Run again to fetch the rows again."
        f" If the type stays changed, {_remedy(spec, old)}"
    )


def _remedy(spec: TableSpec, old: pa.Field) -> str:
    if spec.hunt is None:
        return f"set {setting('lake')} to a new lake: the old lake keeps the rows before the change"
    kind = _kusto(old).decode() or str(old.type)
    return (
        f"convert the column to {kind} in the hunt's query. Then replace the archived partitions once with"
        " `hunting pull`, the hunt's file and --force"
    )
