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

    One buffer holds one block after another: memory that is used again costs neither time nor space.

    Attributes:
        data: begins with the block that `next` found last.
    """

    def __init__(self, body: Body, path: FastPath, layout: Layout) -> None:
        self.path = path
        self.data = bytearray(2 * _BLOCK)
        self._body = body
        self._layout = layout
        self._nested = any(kind.dynamic for kind in layout.kinds)
        self._held = self._done = 0

    def next(self) -> int:
        """Where the next block ends; 0 once no separator is left: the last row is never in a block."""
        self._hold(self.data[self._done : self._held])
        size, ended = _BLOCK, False
        while not ended:
            ended = self._fill(size)
            cut = self._cut()
            if cut >= 0:
                self._done = cut + 2
                return cut + 1
            size = 2 * self._held
        return 0

    def give_back(self) -> None:
        """Return the block that was cut last, if any, and everything unread to the body."""
        self._body.unread(bytes(self.data[: self._held]))
        self.data = bytearray()
        self._held = self._done = 0

    def _hold(self, data: bytes | bytearray) -> None:
        """Let the buffer hold `data` alone."""
        self._held = self._done = 0
        self._add(data)

    def _add(self, piece: bytes | bytearray) -> None:
        end = self._held + len(piece)
        if end > len(self.data):
            self.data = self.data[: self._held].ljust(2 * end, b"\0")
        self.data[self._held : end] = piece
        self._held = end

    def _fill(self, size: int) -> bool:
        """Hold at least `size` bytes; True if the body ended before."""
        while self._held < size:
            piece = self._body.more()
            if not piece:
                return True
            self._add(piece)
        return False

    def _cut(self) -> int:
        """Where the last separator begins whose row before it is whole, or -1."""
        cut = self.path.last_separator(self.data, self._held)
        for _ in range(_TRIES):
            if cut < 0 or not self._nested:
                return cut
            before = self.path.last_separator(self.data, cut)
            if self._is_row(self.data[before + 2 if before >= 0 else 0 : cut + 1]):
                return cut
            cut = before
        return -1

    def _is_row(self, data: bytearray) -> bool:
        try:
            exact_batch(self._layout, [EXACT.decode(data.decode())])
        except (ValueError, RecursionError, ReplyUnreadable):
            return False
        return True
