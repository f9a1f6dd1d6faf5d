"""The fast path: blocks of rows to Arrow by compiled code, which reads only what it can read exactly.

The compiled code reads a row if the row has exactly the first row's keys, once, in the same order and without
blanks. The exact path reads every other row, and always the last row. If the compiled code cannot read a
single value exactly, the exact path reads only this value.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hunting_pipeline.decode import scan
from hunting_pipeline.decode.exact import Batch, Layout, Rescued, column_array
from hunting_pipeline.decode.kinds import DATETIME, Kind
from hunting_pipeline.decode.scan import Bytes, Numbers, Offsets, Words
from hunting_pipeline.decode.source import CHUNK_BYTES, Body
from hunting_pipeline.decode.text import ANNOTATION, EXACT, canonical, quoted

_BLOCK = 2 << 20
"""Bytes in one block. The exact path reads longer rows."""
_CODES = {
    pa.string(): scan.TEXT,
    pa.int32(): scan.INT,
    pa.int64(): scan.LONG,
    pa.float64(): scan.REAL,
    pa.bool_(): scan.FLAG,
    DATETIME: scan.TIME,
}
_OBJECT_ANNOTATION = b'"@odata.type":"#microsoft.graph.security.dynamicColumnValue",'
"""Graph begins every dynamic object with this annotation. Its quotes are not escaped, so it is not inside a
string."""
_NOT_AN_ANNOTATION = b"\\" + _OBJECT_ANNOTATION
"""The same characters at the end of another key. There they are not an annotation."""


class FastPath:
    """The fast path for the rows of one reply. All blocks use the same memory.

    Args:
        layout: the columns of the reply.
        order: the names of the columns in the order of a row's keys.
    """

    def __init__(self, layout: Layout, order: Sequence[str]) -> None:
        self._layout = layout
        self._codes = [_code(kind) for kind in layout.kinds]
        self._is_text = np.array(self._codes) <= scan.DYNAMIC
        columns = [layout.names.index(name) for name in order]
        keys = [f"{quoted(name)}:".encode() for name in order]
        sizes = [len(key) for key in keys]
        self._keys = *_words(keys), np.array(sizes)
        self._steps = np.array([self._codes[column] for column in columns]), np.array(columns)
        self._data = np.zeros(_BLOCK + CHUNK_BYTES + scan.PADDING, np.uint8)
        self._words = scan.words_of(self._data)
        shortest = sum(sizes) + len("0,") * len(keys)
        shape = len(keys), len(self._data) // shortest + 1
        self._cells, self._states = np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
        self._sizes, self._deferred = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)

    def batches(self, body: Body) -> Iterator[Batch]:
        """Read rows up to the first row that needs the exact path, and put the remaining bytes back."""
        size = 0
        while True:
            size = self._fill(body, size)
            rows, done = self._read(size)
            if not rows:
                break
            yield self._batch(rows)
            size -= done
            self._data[:size] = self._data[done : done + size].copy()
        body.unread(self._data[:size].tobytes())

    def _fill(self, body: Body, size: int) -> int:
        """Fill the memory up to one block or to the end of the body, and return the number of bytes."""
        while size < _BLOCK and (chunk := body.next_chunk()):
            self._data[size : size + len(chunk)] = np.frombuffer(chunk, np.uint8)
            size += len(chunk)
        self._data[size : size + scan.PADDING] = 0
        return size

    def _read(self, size: int) -> tuple[int, int]:
        """Read rows into the cells, and return the number of rows and the position of their end."""
        self._sizes[:] = self._deferred[:] = 0
        rows, done = scan.read_rows(
            self._data,
            self._words,
            size,
            *self._keys,
            *self._steps,
            self._cells,
            self._cells.view(np.float64),
            self._states,
            self._sizes,
            self._deferred,
        )
        return (rows, done) if _is_utf8(self._data[:done]) else (0, 0)

    def _batch(self, rows: int) -> Batch:
        states = self._states[:, :rows]
        valid = np.packbits(states >= scan.READ, axis=1, bitorder="little")
        starts, offsets, texts = self._texts(rows)
        rescued: list[Rescued] = []
        arrays = []
        for column, (kind, code) in enumerate(zip(self._layout.kinds, self._codes, strict=True)):
            if starts[column] >= 0:
                buffers = [offsets[column], texts[starts[column] :][: offsets[column, -1]]]
            else:
                buffers = [_arrow_values(self._cells[column, :rows], code)]
            if code == scan.OTHER:
                array = pa.nulls(rows, kind.arrow)
            else:
                whole = [pa.py_buffer(each) for each in (valid[column], *buffers)]
                array = pa.Array.from_buffers(kind.arrow, rows, whole)
            if self._deferred[column]:
                array = self._with_deferred(array, column, rescued)
            arrays.append(array)
        return Batch(pa.Table.from_arrays(arrays, schema=self._layout.arrow), rescued)

    def _texts(self, rows: int) -> tuple[Numbers, Offsets, Bytes]:
        """Return each column's first position in the texts, the offset of each text, and all texts."""
        sizes = np.where(self._is_text, self._sizes, 0)
        starts = np.where(self._is_text, np.cumsum(sizes) - sizes, -1)
        offsets = np.empty((len(starts), rows + 1), np.int32)
        texts = np.empty(sizes.sum() + 8, np.uint8)
        scan.gather(
            self._data,
            self._words,
            self._cells,
            self._states,
            starts,
            offsets,
            texts,
            scan.words_of(texts),
        )
        return starts, offsets, texts

    def _with_deferred(self, array: pa.Array, column: int, rescued: list[Rescued]) -> pa.Array:
        """Return the column with its deferred values, which the exact path reads here."""
        name, kind = self._layout.names[column], self._layout.kinds[column]
        states = self._states[column, : len(array)]
        deferred = (states == scan.DEFERRED) | (states == scan.ANNOTATED)
        wanted = np.flatnonzero(deferred)
        texts = [self._text(cell) for cell in self._cells[column, wanted].tolist()]
        if kind.dynamic:
            values = pa.array(map(_canonical_text, texts, states[wanted].tolist()), pa.string())
        else:
            found: list[Rescued] = []
            values = column_array(kind, name, (EXACT.decode(text.decode()) for text in texts), found)
            rescued += [misfit._replace(row=int(wanted[misfit.row])) for misfit in found]
        chosen = np.arange(len(array))
        chosen[wanted] = len(array) + np.arange(len(wanted))
        return pa.concat_arrays([array, values]).take(pa.array(chosen))

    def _text(self, cell: int) -> bytes:
        return self._data[cell >> 32 : cell & 0xFFFFFFFF].tobytes()


def _code(kind: Kind) -> int:
    return scan.DYNAMIC if kind.dynamic else _CODES.get(kind.arrow, scan.OTHER)


def _words(keys: Sequence[bytes]) -> tuple[Words, Words]:
    """Return the keys as words, one row per key, and masks of the bits that belong to the keys."""
    wide = -(-max(map(len, keys)) // 8) * 8
    written = b"".join(key.ljust(wide, b"\0") for key in keys)
    counts = b"".join((b"\xff" * len(key)).ljust(wide, b"\0") for key in keys)
    first, second = (np.frombuffer(each, "<u8").reshape(len(keys), -1) for each in (written, counts))
    return first, second


def _is_utf8(data: Bytes) -> bool:
    whole = [None, pa.py_buffer(np.array([0, len(data)])), pa.py_buffer(data)]
    try:
        pa.Array.from_buffers(pa.large_string(), 1, whole).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _arrow_values(cells: Numbers, code: int) -> npt.NDArray[Any]:
    """Convert numbers to an Arrow buffer's layout."""
    if code == scan.FLAG:
        return np.packbits(cells != 0, bitorder="little")
    return cells.astype(np.int32) if code == scan.INT else cells.copy()


def _canonical_text(raw: bytes, state: int) -> str | None:
    """Return the canonical text of a dynamic value; None for null and an empty object."""
    plain = raw.replace(_OBJECT_ANNOTATION, b"")
    if state == scan.ANNOTATED and ANNOTATION.encode() not in plain and _NOT_AN_ANNOTATION not in raw:
        return plain.decode()
    return canonical(EXACT.decode(raw.decode()))
