"""The body as it arrives: bytes counted against a ceiling, or text in a window that grows as needed."""

import codecs
import json
from collections.abc import Iterable
from typing import Any

from hunting_pipeline.errors import ReplyUnreadable

PIECE = 1 << 20
"""Largest run of bytes handed on at once: a body given in one piece is not copied again and again."""
_QUOTED = 120
"""Characters of the body that a message may show."""
_BLANKS = " \t\n\r"
_LONGEST_VALUE = 16 << 20
"""Characters that one row, or one value of the envelope, may have: far more than any event has."""


def shown(text: str) -> str:
    """A few characters of the body, fit for an error message."""
    written = repr(text[: _QUOTED + 1])
    return written if len(written) <= _QUOTED else f"{written[:_QUOTED]}…"


class Body:
    """Chunks of a decompressed body.

    Raises:
        ReplyUnreadable: more than `max_bytes` arrived.
    """

    def __init__(self, chunks: Iterable[bytes], max_bytes: int) -> None:
        self._chunks = iter(chunks)
        self._held: list[memoryview] = []
        """What is to be read before the next chunk, its beginning last."""
        self._max_bytes = max_bytes
        self.received = 0

    def more(self) -> bytes:
        """The next bytes, at most `PIECE`; none only at the end."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self.received += len(chunk)
            if self.received > self._max_bytes:
                raise ReplyUnreadable(f"the reply is longer than the ceiling of {self._max_bytes} bytes")
            self.unread(chunk)
        data = self._held.pop()
        self.unread(data[PIECE:])
        return bytes(data[:PIECE])

    def all(self) -> bytes:
        """Everything still to come."""
        return b"".join(iter(self.more, b""))

    def unread(self, data: bytes | memoryview) -> None:
        """Put bytes back in front of everything still to come."""
        if data:
            self._held.append(memoryview(data))


class Text:
    """A body read as JSON text, value by value; holds the value being read and little more."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._decode = codecs.getincrementaldecoder("utf-8")("strict")
        self._text = ""
        self._at = 0
        self._ended = False

    def _fill(self) -> bool:
        """Read on, at least doubling what is held, so that reading a long value again stays linear."""
        pieces = [self._text[self._at :]]
        wanted = len(pieces[0]) + 1
        while wanted > 0 and not self._ended:
            data = self._body.more()
            self._ended = not data
            try:
                pieces.append(self._decode.decode(data, final=self._ended))
            except UnicodeDecodeError as error:
                raise ReplyUnreadable(f"the reply is not UTF-8: {error.reason}") from None
            wanted -= len(pieces[-1])
        grown = sum(map(len, pieces)) > len(pieces[0])
        self._text, self._at = "".join(pieces), 0
        return grown

    def peek(self) -> str:
        """The next character that is not blank; empty at the end of the body."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._fill():
                return ""

    def take(self, wanted: str) -> str:
        """Step over the next character, which must be one of `wanted`."""
        found = self.peek()
        if not found:
            raise ReplyUnreadable(f"the reply was cut short: it ends where one of {wanted!r} must follow")
        if found not in wanted:
            raise ReplyUnreadable(
                f"the reply is not JSON: one of {wanted!r} must stand before {self._near()}"
            )
        self._at += 1
        return found

    def value(self, decoder: json.JSONDecoder) -> Any:
        """The next JSON value."""
        self.peek()
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, RecursionError):
                    raise ReplyUnreadable("the reply is nested too deeply") from None
                if len(self._text) - self._at > _LONGEST_VALUE:
                    raise ReplyUnreadable(f"a value of the reply is longer than {_LONGEST_VALUE}") from None
                if not self._fill():
                    raise self._broken(error) from None
                continue
            # a number at the edge of the window may go on behind it
            if end < len(self._text) or not self._fill():
                self._at = end
                return value

    def give_back(self) -> None:
        """Return everything unread to the body, as bytes."""
        pending, _ = self._decode.getstate()
        self._body.unread(self._text[self._at :].encode() + bytes(pending))
        self._decode.reset()
        self._text, self._at, self._ended = "", 0, False

    def _near(self) -> str:
        return shown(self._text[self._at : self._at + _QUOTED + 1])

    def _broken(self, error: ValueError) -> ReplyUnreadable:
        if not self._text[self._at :]:
            return ReplyUnreadable("the reply was cut short: it ends where a value must follow")
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "unreadable number"
        return ReplyUnreadable(f"the reply was cut short or is not JSON: {reason}, in {self._near()}")
