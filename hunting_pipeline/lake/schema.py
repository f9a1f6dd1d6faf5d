"""One schema for many replies: a table's schema only grows, and a type only widens where nothing is lost."""

from collections.abc import Iterable
from hashlib import sha256

import pyarrow as pa

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.layout import RESCUED, lake_names
from hunting_pipeline.model import Column, TableSpec

__all__ = ["columns_of", "conform", "fingerprint", "merged"]

_WIDER = {
    (pa.int32(), pa.int64()): pa.int64(),
    (pa.int32(), pa.float64()): pa.float64(),
}
"""Pairs of types that a third holds without loss; int64 to float64 loses integers above 2^53."""


def merged(spec: TableSpec, known: pa.Schema | None, schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The schema that holds every row of `schemas`, in lake names, `_rescued_data` last.

    Args:
        spec: the table; `evolve=False` refuses any difference from `known`.
        known: what the table's archive already has; None at its first commit.
        schemas: of the pieces, in the names of their replies.

    Raises:
        CommitRefused: a column changed its type and no type holds both, or the spec freezes the schema.
    """
    fields = {field.name: field for field in known or () if field.name != RESCUED}
    for schema in schemas:
        for field in _renamed(schema):
            fields[field.name] = _widened(spec, fields.get(field.name), field)
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
    table = table.rename_columns([field.name for field in _renamed(table.schema, keep_rescued=True)])
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """Lake names and Kusto types, `_rescued_data` left out."""
    return tuple(
        Column(field.name, (field.metadata or {}).get(b"kusto", b"").decode())
        for field in schema
        if field.name != RESCUED
    )


def fingerprint(schema: pa.Schema) -> str:
    """Sixteen hex digits over names, Kusto types and Arrow types, in order."""
    lines = [
        f"{column.name}\t{column.kusto_type}\t{schema.field(column.name).type}"
        for column in columns_of(schema)
    ]
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def _renamed(schema: pa.Schema, *, keep_rescued: bool = False) -> list[pa.Field]:
    fields = [field for field in schema if keep_rescued or field.name != RESCUED]
    names = lake_names([Column(field.name, "") for field in fields])
    return [field.with_name(name) for field, name in zip(fields, names, strict=True)]


def _widened(spec: TableSpec, old: pa.Field | None, new: pa.Field) -> pa.Field:
    if old is None or old.type == new.type:
        return old or new
    if _WIDER.get((new.type, old.type)) == old.type:
        return old
    if _WIDER.get((old.type, new.type)) == new.type:
        return new
    raise CommitRefused(
        f"{spec.name}: column {new.name} changed its type from {old.type} to {new.type} and no type holds"
        " both without loss; nothing was replaced. Archive the table under another lake, or leave the"
        " column out with `columns:`"
    )
