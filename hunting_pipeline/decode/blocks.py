"""Cutting rows into blocks while they arrive."""

from hunting_pipeline.decode.exact import Layout, exact_batch
from hunting_pipeline.decode.fast import FastPath
from hunting_pipeline.decode.source import Body
from hunting_pipeline.decode.text import EXACT
from hunting_pipeline.errors import ReplyUnreadable

_BLOCK = 2 << 20
"""Bytes in a block: of 256 KiB to 32 MiB measured, 2 to 8 MiB cost least time, and the least of them least
memory."""
_TRIES = 20
"""Separators tried from the end of a block before more of the body is awaited."""


class Blocks:
    """Runs of whole rows, without the comma between one block and the next.

    A separator's look-alike may lie inside a nested value. Where dynamic columns promise nested values, a cut
    is taken only if the row before it reads alone as a row; elsewhere, and against a row made to deceive, the
    reading of the block finds out, and `give_back` undoes the cut.
    """

    def __init__(self, body: Body, path: FastPath, layout: Layout) -> None:
        self.path = path
        self._body = body
        self._layout = layout
        self._nested = any(kind.dynamic for kind in layout.kinds)
        self._data = b""

    def next(self) -> bytes | None:
        """The next block; None once no separator is left, so that the last row is never in a block."""
        size, ended = _BLOCK, False
        while not ended:
            ended = self._fill(size)
            cut = self._cut()
            if cut >= 0:
                block, self._data = self._data[: cut + 1], self._data[cut + 2 :]
                return block
            size = 2 * len(self._data)
        return None

    def give_back(self, block: bytes) -> None:
        """Return the block that was cut last, or nothing, and everything unread to the body."""
        self._body.unread(b",".join(filter(None, (block, self._data))))
        self._data = b""

    def _fill(self, size: int) -> bool:
        """Hold at least `size` bytes; True if the body ended before."""
        pieces, held = [self._data], len(self._data)
        while held < size:
            piece = self._body.more()
            if not piece:
                break
            pieces.append(piece)
            held += len(piece)
        self._data = b"".join(pieces)
        return held < size

    def _cut(self) -> int:
        """Where the last separator begins whose row before it is whole, or -1."""
        cut = self.path.last_separator(self._data, 0, len(self._data))
        for _ in range(_TRIES):
            if cut < 0 or not self._nested:
                return cut
            before = self.path.last_separator(self._data, 0, cut)
            if self._is_row(self._data[before + 2 if before >= 0 else 0 : cut + 1]):
                return cut
            cut = before
        return -1

    def _is_row(self, data: bytes) -> bool:
        try:
            exact_batch(self._layout, [EXACT.decode(data.decode())])
        except (ValueError, RecursionError, ReplyUnreadable):
            return False
        return True
