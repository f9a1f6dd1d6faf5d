"""A block of rows to Arrow by pyarrow's JSON parser, trusted only when it proves itself.

The parser reads concatenated objects under an explicit schema. It refuses wrong types, unknown and doubled
keys by itself, but takes a missing key for null, reads blanks where commas belong, and cannot keep nested
values as text. So a block is rewritten and the result checked:

* separators `},{"First":` become line breaks. Their quote is unescaped and followed by a key, so they cannot
  lie inside a string; rows parsed must equal separators plus one.
* values of dynamic columns are taken out one by one by the standard library's scanner, and `0` is left.
  As many must be found as there are rows.
* `{}` after a column's closing quote becomes `null`.
* nulls in the table must equal `null` tokens in the text: then no key was missing.

What a string may look like is the whole danger of such rewriting. `":` after a column name's last character,
a letter, is structure: inside a string the quote would be escaped, and a quote that opens a string never
follows a letter. Any doubt gives None, and the block is read exactly.

Only Graph writes `{}` for null and tells types beside values. Every pass over the text costs, so both are
looked for once a block could not be read without them.
"""

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from hunting_pipeline.decode.dynamic import Doubt, without_dynamic
from hunting_pipeline.decode.exact import Batch, Layout, Rescued, column_array
from hunting_pipeline.decode.kinds import DATETIME, Kind
from hunting_pipeline.decode.text import NOISE

_PLAIN_NAME = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]*\w')
"""Names that JSON writes as they are and that end in a letter, a digit or an underscore."""
_SAMPLE = 1 << 18
"""Bytes searched for the first truth value of a column, and for the columns that OData tells types of."""
_EMPTY = b'":{}'
_MARK = NOISE.encode()
_MARKED = re.compile(b'"([^"]*)%b":' % re.escape(_MARK))
_TIME_LENGTHS = (len("2026-11-20T10:00:00Z"), len("2026-11-20T10:00:00.1234567Z"))
"""Lengths between which a text that ends in Z is a datetime to Arrow exactly if the exact path reads it."""


class FastPath:
    """The vectorised reading of blocks of one reply."""

    def __init__(self, layout: Layout, first_key: str) -> None:
        self._layout = layout
        self._dynamic = [c.name for c, k in zip(layout.columns, layout.kinds, strict=True) if k.dynamic]
        self._separators = [f'}},{{"{key}":'.encode() for key in (first_key, first_key + NOISE)]
        self._flags: dict[str, pa.DataType] = {}
        self._marked: set[str] = set()
        self._odata = False
        self.usable = all(_PLAIN_NAME.fullmatch(n) and not n.endswith(NOISE) for n in layout.names)

    def last_separator(self, data: bytes, start: int, end: int) -> int:
        """Where the last separator in `data[start:end]` begins, or -1."""
        return max(data.rfind(separator, start, end) for separator in self._separators)

    def batch(self, block: bytes) -> Batch | None:
        """The block's rows, or None on any doubt."""
        if not self._odata:
            batch = self._read(block)
            if batch is not None or (_EMPTY not in block and _MARK not in block):
                return batch
            self._odata = True
        self._marked |= {mark.decode() for mark in _MARKED.findall(block, 0, _SAMPLE)}
        batch = self._read(block)
        if batch is None and self._marked < (every := {"", *self._layout.names}):
            self._marked = every
            batch = self._read(block)
        return batch

    def _read(self, block: bytes) -> Batch | None:
        try:
            return self._batch(block)
        except (Doubt, ValueError, RecursionError, pa.ArrowException):
            return None

    def _batch(self, block: bytes) -> Batch:
        if b"\0" in block:
            raise Doubt("a NUL ends the text for the parser")
        dynamic: dict[str, list[str | None]] = {}
        if self._dynamic:
            text, dynamic = without_dynamic(block.decode(), self._dynamic)
            block = text.encode()
        elif not block.isascii():
            block.decode()
        block, separators = self._lines(block)
        if self._odata:
            block = _with_nulls(block)
        table = self._parsed(block)
        if table.num_rows != separators + 1 or any(len(d) != table.num_rows for d in dynamic.values()):
            raise Doubt("rows do not add up")
        nulls = sum(table.column(name).null_count for name in self._layout.names)
        if nulls and nulls != _count(block, b'":null'):
            raise Doubt("keys are missing")
        return self._finished(table, dynamic)

    def _lines(self, block: bytes) -> tuple[bytes, int]:
        count = 0
        for separator in self._separators[: 1 + self._odata]:
            pieces = block.split(separator)
            count += len(pieces) - 1
            block = (b"}\n" + separator[2:]).join(pieces)
        return block, count

    def _parsed(self, block: bytes) -> pa.Table:
        fields = [
            (column.name, self._carrier(column.name, kind, block))
            for column, kind in zip(self._layout.columns, self._layout.kinds, strict=True)
        ]
        fields += [(name + NOISE, pa.string()) for name in sorted(self._marked)]
        return pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=pa.schema(fields), unexpected_field_behavior="error"
            ),
        )

    def _carrier(self, name: str, kind: Kind, block: bytes) -> pa.DataType:
        """The type that a column is parsed as before it is finished."""
        if kind.dynamic:
            return pa.int8()
        if kind.kusto == "bool":
            return self._flag(name, block)
        return kind.arrow if kind.kusto in ("int", "long", "real") else pa.string()

    def _flag(self, name: str, block: bytes) -> pa.DataType:
        """How a truth value is written: 0 and 1, or false and true. Asked of the first few."""
        written = re.compile(rb'"%b":([01tf])' % re.escape(name.encode())).search(block, 0, _SAMPLE)
        if written:
            self._flags[name] = pa.int8() if written[1] in b"01" else pa.bool_()
        return self._flags.get(name, pa.int8())

    def _finished(self, table: pa.Table, dynamic: dict[str, list[str | None]]) -> Batch:
        rescued: list[Rescued] = []
        arrays = []
        for name, kind in zip(self._layout.names, self._layout.kinds, strict=True):
            if name in dynamic:
                arrays.append(pa.array(dynamic[name], pa.string()))
            else:
                arrays.append(_finished_column(kind, name, table.column(name), rescued))
        return Batch(pa.Table.from_arrays(arrays, schema=self._layout.arrow), rescued)


def _with_nulls(block: bytes) -> bytes:
    if _escaped(block, _EMPTY):
        return re.sub(rb'(?<=\w)":{}', b'":null', block)
    return block.replace(_EMPTY, b'":null')


def _count(block: bytes, token: bytes) -> int:
    """How often a token that begins with a quote follows a column's name."""
    return block.count(token) - _escaped(block, token)


def _escaped(block: bytes, token: bytes) -> int:
    """How often it lies inside a string, where its quote is escaped."""
    return block.count(b"\\" + token) if b"\\" in block else 0


def _finished_column(kind: Kind, name: str, column: pa.ChunkedArray, rescued: list[Rescued]) -> Any:
    if kind.kusto == "bool" and column.type != kind.arrow:
        least, most = pc.min_max(column).as_py().values()
        if least is not None and not 0 <= least <= most <= 1:
            raise Doubt("no truth value")
        return column.cast(kind.arrow)
    if kind.kusto == "real" and pc.all(pc.is_finite(column)).as_py() is False:
        raise Doubt("the parser takes more names of infinity than JSON writers know")
    if column.type == kind.arrow:
        return column
    if kind.arrow == DATETIME and _plain_times(column):
        try:
            return column.cast(kind.arrow)
        except pa.ArrowInvalid:
            pass  # a year beyond nanoseconds: value by value, below
    return column_array(kind, name, column.to_pylist(), rescued)


def _plain_times(column: pa.ChunkedArray) -> bool:
    """Whether each text ends in Z and is as long as seconds, to seven digits, make it."""
    least, most = pc.min_max(pc.binary_length(column)).as_py().values()
    if least is None:
        return True
    within = _TIME_LENGTHS[0] <= least and most <= _TIME_LENGTHS[1]
    return within and bool(pc.all(pc.ends_with(column, "Z")).as_py())
