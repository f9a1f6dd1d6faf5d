"""One schema for many replies: a table's schema only grows, and a type only widens where nothing is lost.

A field keeps Kusto's word for its type in its metadata, and the service's own name where the lake had to
choose another. So a column is found again under its lake name, whichever replies it stood in before.
"""

from collections.abc import Iterable
from hashlib import sha256

import pyarrow as pa

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.layout import RESCUED, lake_names
from hunting_pipeline.model import Column, TableSpec

__all__ = ["columns_of", "conform", "fingerprint", "merged"]

_KUSTO = b"kusto"
_SOURCE = b"source"

_WIDER = {
    (pa.int32(), pa.int64()): pa.int64(),
    (pa.int32(), pa.float64()): pa.float64(),
}
"""Pairs of types that a third holds without loss; int64 to float64 loses integers above 2^53."""
_PLAIN_TEXT = {b"", b"string", b"guid"}
"""Kusto types whose text is the value itself; every other text is JSON."""


def merged(spec: TableSpec, known: pa.Schema | None, schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The schema that holds every row of `schemas`, in lake names, `_rescued_data` last.

    Args:
        spec: the table; `evolve=False` refuses new columns and wider types.
        known: what the table's archive already has; None at its first commit.
        schemas: of staged pieces and archived files.

    Raises:
        CommitRefused: a column changed its type and no type holds both, or the spec freezes the schema.
    """
    fields = {_source(field): field for field in _own(known or ())}
    taken = {source: field.name for source, field in fields.items()}
    if spec.time_column is not None:
        taken.setdefault(spec.time_column, spec.time_column)
    for schema in schemas:
        for field in _own(schema):
            fields[_source(field)] = _widened(spec, fields.get(_source(field)), field)
    names = lake_names([Column(source, "") for source in fields], taken)
    fields = {
        source: _named(field, name, source)
        for (source, field), name in zip(fields.items(), names, strict=True)
    }
    schema = pa.schema([*fields.values(), pa.field(RESCUED, pa.string())])
    if known is not None and not spec.evolve and fingerprint(schema) != fingerprint(known):
        changed = sorted({f.name for f in schema} ^ {f.name for f in known}) or ["types"]
        raise CommitRefused(
            f"{spec.name}: the schema changed ({', '.join(changed)}) and its policy is freeze;"
            " nothing was replaced. Set `policy: evolve` to take the change in"
        )
    return schema


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows of a piece under the merged schema: renamed, widened, missing columns null."""
    present = {_source(field): table.column(index) for index, field in enumerate(table.schema)}
    columns = [
        present[source].cast(field.type)
        if (source := _source(field)) in present
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """Lake names and Kusto types, `_rescued_data` left out."""
    return tuple(Column(field.name, _kusto(field).decode()) for field in _own(schema))


def fingerprint(schema: pa.Schema) -> str:
    """Sixteen hex digits over names, Kusto types and Arrow types, in order."""
    lines = [
        f"{column.name}\t{column.kusto_type}\t{schema.field(column.name).type}"
        for column in columns_of(schema)
    ]
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def _own(fields: Iterable[pa.Field]) -> list[pa.Field]:
    """The service's columns: all but `_rescued_data`."""
    return [field for field in fields if field.name != RESCUED]


def _source(field: pa.Field) -> str:
    """What the service calls a column."""
    return str((field.metadata or {}).get(_SOURCE, field.name.encode()).decode())


def _named(field: pa.Field, name: str, source: str) -> pa.Field:
    metadata = {_KUSTO: _kusto(field)}
    return field.with_name(name).with_metadata(metadata if name == source else metadata | {_SOURCE: source})


def _kusto(field: pa.Field) -> bytes:
    return bytes((field.metadata or {}).get(_KUSTO, b""))


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
        f"{spec.name}: column {new.name} changed its type from {_type(old)} to {_type(new)} and no type holds"
        " both without loss; nothing was replaced. Archive the table under another lake, or leave the"
        " column out with `columns:`"
    )
