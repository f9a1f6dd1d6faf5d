"""Runs of rows to Arrow by compiled code, which reads what it can prove and leaves everything else.

All rows but the last are read so, as long as each has the first row's keys, once, in its order, without
blanks. The last row, and any that is written otherwise, is left to the exact path whole; a value that is
written otherwise is left to it alone.
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
from hunting_pipeline.decode.source import PIECE, Body
from hunting_pipeline.decode.text import EXACT, NOISE, canonical, quoted

_BLOCK = 2 << 20
"""Bytes read at once, and more than a row has that is read here."""
_CODES = {
    pa.string(): scan.TEXT,
    pa.int32(): scan.INT,
    pa.int64(): scan.LONG,
    pa.float64(): scan.REAL,
    pa.bool_(): scan.FLAG,
    DATETIME: scan.TIME,
}
_OBJECT_MARK = b'"@odata.type":"#microsoft.graph.security.dynamicColumnValue",'
"""How Graph begins every dynamic object. Unescaped quotes make it structure."""
_NO_MARK = b"\\" + _OBJECT_MARK
"""The same characters at the end of a key."""


class FastPath:
    """The compiled reading of one reply's rows. Its memory is used again and again.

    Args:
        layout: of the reply.
        order: its columns' names as the keys of the rows follow each other.
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
        self._data = np.zeros(_BLOCK + PIECE + scan.PADDING, np.uint8)
        self._words = scan.words_of(self._data)
        shortest = sum(sizes) + len("0,") * len(keys)
        shape = len(keys), len(self._data) // shortest + 1
        self._cells, self._states = np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
        self._sizes, self._asked = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)

    def batches(self, body: Body) -> Iterator[Batch]:
        """Rows, up to the first that must be read exactly; that one and all behind it return to the body."""
        held = 0
        while True:
            held = self._fill(body, held)
            rows, done = self._read(held)
            if not rows:
                break
            yield self._batch(rows)
            held -= done
            self._data[:held] = self._data[done : done + held].copy()
        body.unread(self._data[:held].tobytes())

    def _fill(self, body: Body, held: int) -> int:
        """Hold a block, or all that is left; how much that is."""
        while held < _BLOCK and (piece := body.more()):
            self._data[held : held + len(piece)] = np.frombuffer(piece, np.uint8)
            held += len(piece)
        self._data[held : held + scan.PADDING] = 0
        return held

    def _read(self, held: int) -> tuple[int, int]:
        """Rows read into the cells, and where they end."""
        self._sizes[:] = self._asked[:] = 0
        rows, done = scan.read_rows(
            self._data,
            self._words,
            held,
            *self._keys,
            *self._steps,
            self._cells,
            self._cells.view(np.float64),
            self._states,
            self._sizes,
            self._asked,
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
                held = [offsets[column], texts[starts[column] :][: offsets[column, -1]]]
            else:
                held = [_packed(self._cells[column, :rows], code)]
            if code == scan.OTHER:
                array = pa.nulls(rows, kind.arrow)
            else:
                whole = [pa.py_buffer(each) for each in (valid[column], *held)]
                array = pa.Array.from_buffers(kind.arrow, rows, whole)
            if self._asked[column]:
                array = self._with_asked(array, column, rescued)
            arrays.append(array)
        return Batch(pa.Table.from_arrays(arrays, schema=self._layout.arrow), rescued)

    def _texts(self, rows: int) -> tuple[Numbers, Offsets, Bytes]:
        """Where each column's texts begin, where each text does from there on, and all texts."""
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

    def _with_asked(self, array: pa.Array, column: int, rescued: list[Rescued]) -> pa.Array:
        """The column with the values in their places that only the exact path can read."""
        name, kind = self._layout.names[column], self._layout.kinds[column]
        states = self._states[column, : len(array)]
        asked = (states == scan.ASK) | (states == scan.MARKED)
        places = np.flatnonzero(asked)
        texts = [self._text(cell) for cell in self._cells[column, places].tolist()]
        if kind.dynamic:
            values = pa.array(map(_tidied, texts, states[places].tolist()), pa.string())
        else:
            found: list[Rescued] = []
            values = column_array(kind, name, (EXACT.decode(text.decode()) for text in texts), found)
            rescued += [misfit._replace(row=int(places[misfit.row])) for misfit in found]
        chosen = np.arange(len(array))
        chosen[places] = len(array) + np.arange(len(places))
        return pa.concat_arrays([array, values]).take(pa.array(chosen))

    def _text(self, cell: int) -> bytes:
        return self._data[cell >> 32 : cell & 0xFFFFFFFF].tobytes()


def _code(kind: Kind) -> int:
    return scan.DYNAMIC if kind.dynamic else _CODES.get(kind.arrow, scan.OTHER)


def _words(keys: Sequence[bytes]) -> tuple[Words, Words]:
    """Keys in words, each in a row of its own, and which bits of them count."""
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


def _packed(cells: Numbers, code: int) -> npt.NDArray[Any]:
    """A copy of numbers as Arrow holds them."""
    if code == scan.FLAG:
        return np.packbits(cells != 0, bitorder="little")
    return cells.astype(np.int32) if code == scan.INT else cells.copy()


def _tidied(raw: bytes, state: int) -> str | None:
    """The canonical text of a dynamic value; None where it is nothing."""
    plain = raw.replace(_OBJECT_MARK, b"")
    if state == scan.MARKED and NOISE.encode() not in plain and _NO_MARK not in raw:
        return plain.decode()
    return canonical(EXACT.decode(raw.decode()))
