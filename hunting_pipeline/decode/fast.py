"""A block of rows to Arrow by pyarrow's JSON parser, trusted only when it proves itself.

The parser reads concatenated objects under an explicit schema. It refuses wrong types, unknown and doubled
keys by itself, but takes a missing key for null, reads blanks where commas belong, and cannot keep nested
values as text. So a block is rewritten and the result checked:

* separators `},{"First":` become line breaks. Their quote is unescaped and followed by a key, so they cannot
  lie inside a string; rows parsed must equal separators plus one.
* values of dynamic columns are taken out one by one, and `0` is left. As many must be found as there are
  rows.
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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from hunting_pipeline.decode.dynamic import Doubt, without_dynamic
from hunting_pipeline.decode.exact import Batch, Layout, Rescued, column_array
from hunting_pipeline.decode.kinds import DATETIME, Kind
from hunting_pipeline.decode.text import NOISE

_PLAIN_NAME = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]*\w')
"""Names that JSON writes as they are and that end in a letter, a digit or an underscore."""
_SAMPLE = 1 << 16
"""Bytes searched for the first truth value of a column, and for the columns that OData tells types of."""
_NULL = b'":null'
_EMPTY = b'":{}'
_MARK = NOISE.encode()
_MARKED = re.compile(b'"([^"]*)%b":' % re.escape(_MARK))
_ESCAPED = re.compile(rb'\\u00[^"]{2,70}":(?:null|\{\})')
"""Nothing under a key that is written with an escape, near enough to its end to be one of OData's."""
_CELLS = 1 << 26
"""Rows times columns that the parser may make room for, missing keys included: far more than a block of the
widest hunting table holds."""
_SHORTEST_ROW = len("{} ")
_TIME_LENGTHS = (len("2026-11-20T10:00:00Z"), len("2026-11-20T10:00:00.1234567Z"))
"""Lengths between which a text that ends in Z is a datetime to Arrow exactly if the exact path reads it."""


class FastPath:
    """The vectorised reading of blocks of one reply. A block is the beginning of a buffer, up to `end`."""

    def __init__(self, layout: Layout, first_key: str) -> None:
        self._layout = layout
        self._dynamic = [c.name for c, k in zip(layout.columns, layout.kinds, strict=True) if k.dynamic]
        self._separators = [f'}},{{"{key}":'.encode() for key in (first_key, first_key + NOISE)]
        self._separator = re.compile(b"|".join(map(re.escape, self._separators)))
        self._flags: dict[str, pa.DataType] = {}
        self._marked: set[str] = set()
        self._markable = {"", *layout.names}
        self._odata = False
        self.usable = all(_PLAIN_NAME.fullmatch(n) and not n.endswith(NOISE) for n in layout.names)

    def last_separator(self, data: bytearray, end: int) -> int:
        """Where the last separator before `end` begins, or -1."""
        plain, marked = self._separators
        last = data.rfind(plain, 0, end)
        return max(last, data.rfind(marked, last + 1, end))

    def batch(self, data: bytearray, end: int) -> Batch | None:
        """The block's rows, or None on any doubt. The buffer is left as it was, and not kept."""
        batch = self._read(data, end)
        if batch is not None or max(data.find(_EMPTY, 0, end), data.find(_MARK, 0, end)) < 0:
            return batch
        found = set(_MARKED.findall(data, 0, min(end, _SAMPLE)))
        seen = {name for name in self._markable if name.encode() in found}
        for marked in (self._marked | seen, self._markable):
            if batch is None and (marked > self._marked or not self._odata):
                self._odata, self._marked = True, marked
                batch = self._read(data, end)
        return batch

    def _read(self, data: bytearray, end: int) -> Batch | None:
        try:
            return self._batch(data, end)
        except (Doubt, ValueError, RecursionError, pa.ArrowException):
            return None

    def _batch(self, data: bytearray, end: int) -> Batch:
        if data.find(b"\0", 0, end) >= 0:
            raise Doubt("a NUL ends the text for the parser")
        dynamic: dict[str, list[bytes | None]] = {}
        if not data.isascii():
            text_of(data, end)
        if self._dynamic:
            rows, dynamic = without_dynamic(bytes(memoryview(data)[:end]), self._dynamic)
            data = bytearray(rows)
            end = len(data)
        self._doubt_room(data, end)
        commas = np.array([found.start() + 1 for found in self._separator.finditer(data, 0, end)], np.intp)
        table, emptied = self._rows(data, end, commas)
        if table.num_rows != len(commas) + 1 or any(len(d) != table.num_rows for d in dynamic.values()):
            raise Doubt("rows do not add up")
        nulls = sum(table.column(name).null_count for name in self._layout.names)
        if nulls != emptied and nulls != emptied + _null_tokens(data, end):
            raise Doubt("keys are missing")
        if self._marks(table) != (data.count(_MARK + b'":', 0, end) if self._odata else 0):
            raise Doubt("a mark is no text: its null would hide a missing key")
        if nulls and self._odata and data.find(b"\\u00", 0, end) >= 0 and _ESCAPED.search(data, 0, end):
            raise Doubt("a mark that cannot be counted")
        return self._finished(table, dynamic)

    def _doubt_room(self, data: bytearray, end: int) -> None:
        """Rows that hold next to nothing would take room for every column before any is missed."""
        width = len(self._layout.columns)
        if width * end > _CELLS * _SHORTEST_ROW and width * data.count(b"{", 0, end) > _CELLS:
            raise Doubt("rows that hold next to nothing")

    def _rows(
        self, data: bytearray, end: int, commas: "np.ndarray[Any, np.dtype[np.intp]]"
    ) -> tuple[pa.Table, int]:
        """The rows, parsed while line breaks stand in the place of the commas between them; and how many
        `{}` were read as null."""
        block = np.frombuffer(data, np.uint8, end)
        block[commas] = ord("\n")
        try:
            if not self._odata:
                return self._parsed(block.data), 0
            filled = _with_nulls(block.tobytes())
            return self._parsed(filled), (len(filled) - end) // (len(_NULL) - len(_EMPTY))
        finally:
            block[commas] = ord(",")

    def _marks(self, table: pa.Table) -> int:
        """How many texts stand in the columns that OData's marks were read into."""
        return sum(table.num_rows - table.column(name + NOISE).null_count for name in self._marked)

    def _parsed(self, block: bytes | memoryview) -> pa.Table:
        fields = [
            (column.name, self._carrier(column.name, kind, block))
            for column, kind in zip(self._layout.columns, self._layout.kinds, strict=True)
        ]
        fields += [(name + NOISE, pa.string()) for name in sorted(self._marked)]
        return pj.read_json(
            pa.BufferReader(pa.py_buffer(block)),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=pa.schema(fields), unexpected_field_behavior="error"
            ),
        )

    def _carrier(self, name: str, kind: Kind, block: bytes | memoryview) -> pa.DataType:
        """The type that a column is parsed as before it is finished."""
        if kind.dynamic:
            return pa.int8()
        if kind.kusto == "bool":
            return self._flag(name, block)
        return kind.arrow if kind.kusto in ("int", "long", "real") else pa.string()

    def _flag(self, name: str, block: bytes | memoryview) -> pa.DataType:
        """How a truth value is written: 0 and 1, or false and true. Asked of the first few."""
        written = re.compile(rb'"%b":([01tf])' % re.escape(name.encode())).search(block, 0, _SAMPLE)
        if written:
            self._flags[name] = pa.int8() if written[1] in b"01" else pa.bool_()
        return self._flags.get(name, pa.int8())

    def _finished(self, table: pa.Table, dynamic: dict[str, list[bytes | None]]) -> Batch:
        rescued: list[Rescued] = []
        arrays = []
        for name, kind in zip(self._layout.names, self._layout.kinds, strict=True):
            if name in dynamic:
                arrays.append(pa.array(dynamic[name], pa.string()))
            else:
                arrays.append(_finished_column(kind, name, table.column(name), rescued))
        return Batch(pa.Table.from_arrays(arrays, schema=self._layout.arrow), rescued)


def text_of(data: bytearray, end: int) -> str:
    """A block as text. Raises UnicodeDecodeError."""
    return str(memoryview(data)[:end], "utf-8")


def _with_nulls(block: bytes) -> bytes:
    if b"\\" + _EMPTY in block:
        return re.sub(rb'(?<=\w)":{}', _NULL, block)
    return block.replace(_EMPTY, _NULL)


def _null_tokens(data: bytearray, end: int) -> int:
    """How often `null` follows a column's name, not within a string."""
    found = data.count(_NULL, 0, end)
    return found - data.count(b"\\" + _NULL, 0, end) if found else 0


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
