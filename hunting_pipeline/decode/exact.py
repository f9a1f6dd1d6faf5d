"""Rows to Arrow one value at a time: slow, obvious, and the authority that the fast path must equal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from hunting_pipeline.decode.kinds import Kind, Misfit
from hunting_pipeline.decode.source import shown
from hunting_pipeline.decode.text import NOISE, Json, Object, verbatim
from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.model import Column


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that a reply's Schema promises, and what each is."""

    columns: tuple[Column, ...]
    kinds: tuple[Kind, ...]

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of the reply's table."""
        return pa.schema([(c.name, k.arrow) for c, k in zip(self.columns, self.kinds, strict=True)])


class Rescued(NamedTuple):
    """A value that did not fit: its row within the batch, its column, its verbatim JSON."""

    row: int
    column: str
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a reply, in order, and what of them did not fit."""

    table: pa.Table
    rescued: list[Rescued]


def column_array(kind: Kind, name: str, values: Iterable[Json], rescued: list[Rescued]) -> pa.Array:
    """One column from JSON values; misfits become null and are added to `rescued`."""
    read: list[Any] = []
    for row, value in enumerate(values):
        if value is None or value == []:
            read.append(_nothing(kind, name, row, value, rescued))
            continue
        try:
            read.append(kind.read(value))
        except Misfit:
            read.append(None)
            rescued.append(Rescued(row, name, verbatim(value)))
    return pa.array(read, kind.arrow)


def _nothing(kind: Kind, name: str, row: int, value: Json, rescued: list[Rescued]) -> Any:
    """The reading of null, `{}` (null everywhere: so Graph writes it) or `[]` (a value of dynamic only)."""
    if value is None or isinstance(value, Object):
        return None
    if kind.dynamic:
        return kind.read(value)
    rescued.append(Rescued(row, name, "[]"))
    return None


def exact_batch(layout: Layout, rows: Sequence[Json]) -> Batch:
    """Rows as Arrow.

    Raises:
        ReplyUnreadable: a row is no object, or its keys are not exactly the promised columns.
    """
    names = layout.names
    promised = set(names)
    records = [_record(row, promised) for row in rows]
    rescued: list[Rescued] = []
    arrays = [
        column_array(kind, name, (record[name] for record in records), rescued)
        for name, kind in zip(names, layout.kinds, strict=True)
    ]
    return Batch(pa.Table.from_arrays(arrays, schema=layout.arrow), rescued)


def _record(row: Json, promised: set[str]) -> dict[str, Json]:
    if not isinstance(row, Object):
        raise ReplyUnreadable(f"a row of the reply is no object: {shown(verbatim(row))}")
    pairs = [(k, v) for k, v in row if k in promised or not k.endswith(NOISE)]
    record = dict(pairs)
    if len(record) != len(pairs):
        doubled, _ = Counter(k for k, _ in pairs).most_common(1)[0]
        raise ReplyUnreadable(f"a row of the reply names {shown(doubled)} twice")
    if record.keys() != promised:
        odd = record.keys() ^ promised
        name = min(odd)
        fault = "lacks" if name in promised else "has, against its Schema,"
        raise ReplyUnreadable(f"a row of the reply {fault} the column {shown(name)} ({len(odd)} such)")
    return record
