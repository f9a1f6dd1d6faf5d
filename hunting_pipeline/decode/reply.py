"""The envelope of a reply, and the only loop over its rows.

Keys of the envelope and of its Schema may have any case and any order. Rows are decoded block by block while
the body arrives.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from hunting_pipeline.decode.exact import Batch, Layout, exact_batch
from hunting_pipeline.decode.kinds import kind_of
from hunting_pipeline.decode.source import Body, Text, excerpt
from hunting_pipeline.decode.text import ANNOTATION, EXACT, Object, quoted
from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.model import RESCUED, Column
from hunting_pipeline.reply import Reply

_ROWS_AT_ONCE = 1000
"""Most rows that the exact path keeps as Python objects: about a block of wide rows."""
_PLAIN = json.JSONDecoder()


@dataclass(slots=True)
class _Envelope:
    """The parts of a reply's envelope that were read so far."""

    seen: set[str] = field(default_factory=set)
    stats: dict[str, Any] = field(default_factory=dict)
    layout: Layout | None = None


def decode(
    body: Iterable[bytes], *, max_bytes: int, keys: tuple[str, str, str] = ("schema", "results", "stats")
) -> Reply:
    """Decode an accepted reply.

    Args:
        body: the decompressed bytes of the reply, in chunks of any size.
        max_bytes: the limit of the body's size.
        keys: the envelope's keys for Schema, Results and Stats, in lower case.

    Returns:
        The rows as an Arrow table with the Schema's columns in their order. A value that does not fit its
        type is null in its column. If there is such a value, a last column `_rescued_data` keeps it verbatim,
        in a JSON object from column to value. `{}` is null in every column; a missing string is `""`.
        Decimals have 18 digits after the point. Dynamic columns hold canonical JSON text.

    Raises:
        ReplyUnreadable: the body is truncated, contradicts itself, is not UTF-8 JSON of this form, is nested
            too deeply or exceeds `max_bytes`.
    """
    source = Body(body, max_bytes)
    text = Text(source)
    text.take("{")
    envelope = _Envelope()
    batches: list[Batch] | None = None
    kept: tuple[bytes, int] | None = None
    schema, results, stats = keys
    for key in _keys(text, envelope):
        if key == stats:
            envelope.stats = _stats(text.value(_PLAIN))
        elif key == schema:
            envelope.layout = _layout(text.value(EXACT))
        elif key == results:
            if envelope.layout:
                batches = list(_results(source, text, envelope.layout))
            else:
                kept = _rows_before_schema(source, text)
        else:
            text.value(EXACT)
    if text.peek():
        raise ReplyUnreadable("the reply has more text after its closing brace")
    if envelope.layout is None or (batches is None and kept is None):
        raise ReplyUnreadable(f"the reply has no Schema or no Results; it has {_names(envelope.seen)}")
    if batches is None:
        rows, start = kept or (b"", 0)
        again = Body([rows], max_bytes, start=start)
        batches = list(_results(again, Text(again), envelope.layout))
    return _reply(envelope, envelope.layout, batches, source.received)


def _keys(text: Text, envelope: _Envelope) -> Iterator[str]:
    """Yield the envelope's keys in lower case. The caller must read each value before the next key."""
    if text.peek() == "}":
        text.take("}")
        return
    while True:
        if text.peek() != '"':
            text.take('"')
        key = text.value(EXACT).lower()
        if key in envelope.seen:
            raise ReplyUnreadable(f"the reply has the key {excerpt(key)} twice")
        envelope.seen.add(key)
        text.take(":")
        yield key
        if text.take(",}") == "}":
            return


def _names(keys: set[str]) -> str:
    return excerpt(", ".join(sorted(keys)) or "no keys")


def _stats(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ReplyUnreadable("the reply's Stats are not a JSON object")
    return value


def _layout(schema: Any) -> Layout:
    if not isinstance(schema, list) or isinstance(schema, Object) or not schema:
        raise ReplyUnreadable("the reply's Schema is not a list of columns")
    columns, kinds = [], []
    for item in schema:
        name, wire = _entry(item)
        kind = kind_of(wire)
        columns.append(Column(name, kind.kusto))
        kinds.append(kind)
    names = [column.name for column in columns]
    doubled = {name for name, times in Counter(names).items() if times > 1} | ({RESCUED} & set(names))
    if doubled:
        raise ReplyUnreadable(
            f"the reply's Schema has the column {excerpt(min(doubled))} twice, or this name is reserved"
        )
    return Layout(tuple(columns), tuple(kinds))


def _entry(item: Any) -> tuple[str, str]:
    """Return the name and the type of one Schema entry."""
    pairs = [(key.lower(), value) for key, value in item] if isinstance(item, Object) else []
    found = [[value for key, value in pairs if key == wanted] for wanted in ("name", "type")]
    for values in found:
        if len(values) != 1 or type(values[0]) is not str or not values[0]:
            raise ReplyUnreadable(
                "an entry of the reply's Schema does not have exactly one Name and one Type"
            )
    name, wire = found[0][0], found[1][0]
    if not (name + wire).isascii() and any("\ud800" <= c <= "\udfff" for c in name + wire):
        raise ReplyUnreadable("an entry of the reply's Schema is not valid text")
    return name, wire


def _rows_before_schema(source: Body, text: Text) -> tuple[bytes, int]:
    """Return the bytes of a Results array that came before the Schema, and the number of bytes before it.

    Reads the whole body into memory.
    """
    text.return_unread()
    start = source.position
    whole = source.read_all()
    rest = Body([whole], len(whole), start=start)
    rows = Text(rest)
    rows.take("[")
    if rows.peek() == "]":
        rows.take("]")
    else:
        rows.value(EXACT)
        while rows.take(",]") == ",":
            rows.value(EXACT)
    rows.return_unread()
    after = rest.read_all()
    source.unread(after)
    return whole[: len(whole) - len(after)], start


def _results(source: Body, text: Text, layout: Layout) -> Iterator[Batch]:
    """Read the rows of the Results array.

    The exact path reads the first row, because the fast path needs its keys. It also reads the rows at which
    the fast path stops. Each time, the exact path reads as many rows as it has read so far, up to a limit. So
    the fast path is not tried at every row of a body that it cannot read.
    """
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    path: Callable[[Body], Iterator[Batch]] | None = None
    exact = 0
    while True:
        start = text.position
        rows, ended = _rows(text, min(max(1, exact), _ROWS_AT_ONCE))
        try:
            batch = exact_batch(layout, rows)
        except ReplyUnreadable as error:
            raise ReplyUnreadable(f"{error}, in one of {len(rows)} rows after byte {start}") from None
        yield batch
        if ended:
            return
        exact += len(rows)
        text.return_unread()
        path = path or _fast_path(layout, rows[0])
        if path:
            yield from path(source)


def _rows(text: Text, most: int) -> tuple[list[Any], bool]:
    """Return the next rows, and whether the closing bracket followed them."""
    rows: list[Any] = []
    ended = False
    while not ended and len(rows) < most:
        rows.append(text.value(EXACT))
        ended = text.take(",]") == "]"
    return rows, ended


def _fast_path(layout: Layout, first: Object) -> Callable[[Body], Iterator[Batch]] | None:
    """Build the fast path; None if a column's name looks like an OData annotation."""
    from hunting_pipeline.decode.fast import FastPath  # noqa: PLC0415 # loads a compiler, which only replies need

    if any(name.endswith(ANNOTATION) for name in layout.names):
        return None
    names = set(layout.names)
    return FastPath(layout, [key for key, _ in first if key in names]).batches


def _reply(envelope: _Envelope, layout: Layout, batches: list[Batch], received: int) -> Reply:
    table = pa.concat_tables([layout.arrow.empty_table(), *(batch.table for batch in batches)])
    rescued: dict[int, list[str]] = {}
    count = start = 0
    for batch in batches:
        for row, column, value in batch.rescued:
            rescued.setdefault(start + row, []).append(f"{quoted(column)}:{value}")
            count += 1
        start += batch.table.num_rows
    if count:
        texts = ["{" + ",".join(rescued[r]) + "}" if r in rescued else None for r in range(start)]
        table = table.append_column(RESCUED, pa.array(texts, pa.string()))
    return Reply(layout.columns, table, envelope.stats, received, count)
