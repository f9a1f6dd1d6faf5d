"""The envelope of a reply, and the only loop over its rows.

Keys of the envelope and of its Schema are read without regard to case, in any order. Rows are read as soon as
a block of them has arrived, while the socket gathers the next.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from hunting_pipeline.decode.exact import Batch, Layout, exact_batch
from hunting_pipeline.decode.kinds import kind_of
from hunting_pipeline.decode.source import Body, Text, shown
from hunting_pipeline.decode.text import EXACT, NOISE, Object, quoted
from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.model import RESCUED, Column
from hunting_pipeline.reply import Reply

_ROWS_AT_ONCE = 1000
"""Rows that the row-by-row reading holds as Python objects: about a block of wide rows."""
_PLAIN = json.JSONDecoder()


@dataclass(slots=True)
class _Envelope:
    """What is known of a reply so far."""

    seen: set[str] = field(default_factory=set)
    stats: dict[str, Any] = field(default_factory=dict)
    layout: Layout | None = None


def decode(body: Iterable[bytes], *, max_bytes: int) -> Reply:
    """Read an accepted reply.

    Args:
        body: its decompressed bytes as they arrive, in chunks of any size.
        max_bytes: most bytes that the body may have.

    Returns:
        The rows as an Arrow table with the Schema's columns in their order. A value that does not fit its
        type is null there and kept verbatim in a last column `_rescued_data`, a JSON object from column to
        value, which exists only if something was rescued. `{}` is null in every column; a missing string
        is `""`. Decimals have 18 digits behind the point. Dynamic columns hold canonical JSON text.

    Raises:
        ReplyUnreadable: the body was cut short, contradicts itself, is no UTF-8 JSON of this shape, nests
            too deeply or exceeds `max_bytes`.
    """
    source = Body(body, max_bytes)
    text = Text(source)
    text.take("{")
    envelope = _Envelope()
    batches: list[Batch] | None = None
    kept: bytes | None = None
    for key in _keys(text, envelope):
        if key == "stats":
            envelope.stats = _stats(text.value(_PLAIN))
        elif key == "schema":
            envelope.layout = _layout(text.value(EXACT))
        elif key == "results":
            if envelope.layout:
                batches = list(_results(source, text, envelope.layout))
            else:
                kept = _skipped(source, text)
        else:
            text.value(EXACT)
    if text.peek():
        raise ReplyUnreadable("something follows the end of the reply")
    if envelope.layout is None or (batches is None and kept is None):
        raise ReplyUnreadable(f"the reply lacks its Schema or its Results; it has {_names(envelope.seen)}")
    if batches is None:
        again = Body([kept or b""], max_bytes)
        batches = list(_results(again, Text(again), envelope.layout))
    return _reply(envelope, envelope.layout, batches, source.received)


def _keys(text: Text, envelope: _Envelope) -> Iterator[str]:
    """The envelope's keys in lower case; the caller reads each one's value before asking for the next."""
    if text.peek() == "}":
        text.take("}")
        return
    while True:
        if text.peek() != '"':
            text.take('"')
        key = text.value(EXACT).lower()
        if key in envelope.seen:
            raise ReplyUnreadable(f"the reply has {shown(key)} twice")
        envelope.seen.add(key)
        text.take(":")
        yield key
        if text.take(",}") == "}":
            return


def _names(keys: set[str]) -> str:
    return shown(", ".join(sorted(keys)) or "no key at all")


def _stats(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ReplyUnreadable("the reply's Stats are no object")
    return value


def _layout(schema: Any) -> Layout:
    if not isinstance(schema, list) or isinstance(schema, Object) or not schema:
        raise ReplyUnreadable("the reply's Schema is no list of columns")
    columns, kinds = [], []
    for item in schema:
        name, wire = _entry(item)
        kind = kind_of(wire)
        columns.append(Column(name, kind.kusto))
        kinds.append(kind)
    names = [column.name for column in columns]
    doubled = {name for name, times in Counter(names).items() if times > 1} | ({RESCUED} & set(names))
    if doubled:
        raise ReplyUnreadable(f"the reply's Schema names {shown(min(doubled))} twice, or it is reserved")
    return Layout(tuple(columns), tuple(kinds))


def _entry(item: Any) -> tuple[str, str]:
    """Name and type of one Schema entry."""
    pairs = [(key.lower(), value) for key, value in item] if isinstance(item, Object) else []
    found = [[value for key, value in pairs if key == wanted] for wanted in ("name", "type")]
    for values in found:
        if len(values) != 1 or type(values[0]) is not str or not values[0]:
            raise ReplyUnreadable("an entry of the reply's Schema lacks its one Name or its one Type")
    name, wire = found[0][0], found[1][0]
    if not (name + wire).isascii() and any("\ud800" <= c <= "\udfff" for c in name + wire):
        raise ReplyUnreadable("an entry of the reply's Schema is no valid text")
    return name, wire


def _skipped(source: Body, text: Text) -> bytes:
    """The bytes of a Results array that came before its Schema; the rest of the body is held, as bytes."""
    text.give_back()
    whole = source.all()
    rest = Body([whole], len(whole))
    rows = Text(rest)
    rows.take("[")
    if rows.peek() == "]":
        rows.take("]")
    else:
        rows.value(EXACT)
        while rows.take(",]") == ",":
            rows.value(EXACT)
    rows.give_back()
    behind = rest.all()
    source.unread(behind)
    return whole[: len(whole) - len(behind)]


def _results(source: Body, text: Text, layout: Layout) -> Iterator[Batch]:
    """The rows of the array that follows.

    The first is read exactly, for its keys, and so is what the fast path leaves: as many rows as were so far,
    within limits. A body that it cannot read is then not offered to it row after row.
    """
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    path: Callable[[Body], Iterator[Batch]] | None = None
    exact = 0
    while True:
        rows, ended = _rows(text, min(max(1, exact), _ROWS_AT_ONCE))
        yield exact_batch(layout, rows)
        if ended:
            return
        exact += len(rows)
        text.give_back()
        path = path or _fast_path(layout, rows[0])
        if path:
            yield from path(source)


def _rows(text: Text, most: int) -> tuple[list[Any], bool]:
    """The next rows, and whether the closing bracket came behind them."""
    rows: list[Any] = []
    ended = False
    while not ended and len(rows) < most:
        rows.append(text.value(EXACT))
        ended = text.take(",]") == "]"
    return rows, ended


def _fast_path(layout: Layout, first: Object) -> Callable[[Body], Iterator[Batch]] | None:
    """None where a column's name could be taken for one of OData's marks."""
    from hunting_pipeline.decode.fast import FastPath  # noqa: PLC0415 # a compiler that only replies are worth

    if any(name.endswith(NOISE) for name in layout.names):
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
