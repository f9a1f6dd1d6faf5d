"""The exact path: rows to Arrow, one value at a time. The fast path must give exactly the same result."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from hunting_pipeline.decode.kinds import Kind, Misfit
from hunting_pipeline.decode.source import excerpt
from hunting_pipeline.decode.text import ANNOTATION, Json, Object, verbatim
from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.model import Column


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a reply's Schema and their kinds."""

    columns: tuple[Column, ...]
    kinds: tuple[Kind, ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of the reply's table."""
        return pa.schema([(c.name, k.arrow) for c, k in zip(self.columns, self.kinds, strict=True)])


class Rescued(NamedTuple):
    """A value that does not fit the type of its column: row within the batch, column, and verbatim JSON."""

    row: int
    column: str
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a reply, in order, and their rescued values."""

    table: pa.Table
    rescued: list[Rescued]


def column_array(kind: Kind, name: str, values: Iterable[Json], rescued: list[Rescued]) -> pa.Array:
    """Build one column from JSON values. A value that does not fit becomes null and is added to `rescued`."""
    read: list[Any] = []
    for row, value in enumerate(values):
        if value is None or value == []:
            read.append(_empty_value(kind, name, row, value, rescued))
            continue
        try:
            read.append(kind.read(value))
        except Misfit:
            read.append(None)
            rescued.append(Rescued(row, name, verbatim(value)))
    return pa.array(read, kind.arrow)


def _empty_value(kind: Kind, name: str, row: int, value: Json, rescued: list[Rescued]) -> Any:
    """Read null, `{}` or `[]`. `{}` is null, because Graph writes null so. `[]` fits only dynamic columns."""
    if value is None or isinstance(value, Object):
        return None
    if kind.dynamic:
        return kind.read(value)
    rescued.append(Rescued(row, name, "[]"))
    return None


def exact_batch(layout: Layout, rows: Sequence[Json]) -> Batch:
    """Convert rows to Arrow.

    Raises:
        ReplyUnreadable: a row is not an object, or its keys are not exactly the Schema's columns.
    """
    names = layout.names
    expected = set(names)
    records = [_record(row, expected) for row in rows]
    rescued: list[Rescued] = []
    arrays = [
        column_array(kind, name, (record[name] for record in records), rescued)
        for name, kind in zip(names, layout.kinds, strict=True)
    ]
    return Batch(pa.Table.from_arrays(arrays, schema=layout.arrow), rescued)


def _record(row: Json, expected: set[str]) -> dict[str, Json]:
    if not isinstance(row, Object):
        raise ReplyUnreadable("a row of the reply is not a JSON object")
    pairs = [(k, v) for k, v in row if k in expected or not k.endswith(ANNOTATION)]
    record = dict(pairs)
    if len(record) != len(pairs):
        doubled, _ = Counter(k for k, _ in pairs).most_common(1)[0]
        raise ReplyUnreadable(f"a row of the reply has the key {excerpt(doubled)} twice")
    if record.keys() != expected:
        odd = record.keys() ^ expected
        name = min(odd)
        fault = "lacks" if name in expected else "has, unlike its Schema,"
        raise ReplyUnreadable(f"a row of the reply {fault} the column {excerpt(name)} ({len(odd)} in all)")
    return record
