"""The body of a reply as it arrives: bytes up to a limit, or text in a buffer that grows as needed."""

import codecs
import json
from collections.abc import Iterable
from typing import Any

from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.redaction import redacted

CHUNK_BYTES = 1 << 20
"""Most bytes in one chunk. A larger chunk is divided, because it would be copied again and again."""
_QUOTED = 120
"""Most characters of the body in an error message."""
_EXAMINED = 1 << 16
"""Characters in which an error message looks for secrets: more than `_QUOTED` and the longest secret."""
_BLANKS = " \t\n\r"
_LONGEST_VALUE = 16 << 20
"""Most characters of one row, or of one value of the envelope: far more than any event has."""


def excerpt(text: str) -> str:
    """Return the first characters of a text for an error message, without secrets."""
    written = repr(redacted(text[:_EXAMINED])[: _QUOTED + 1])
    return written if len(written) <= _QUOTED else f"{written[:_QUOTED]}…"


class Body:
    """A decompressed body, read in chunks.

    Args:
        chunks: the bytes of the body, or of its part from the byte `start` on.
        max_bytes: the limit of their number.
        start: number of bytes of the body before them.

    Raises:
        ReplyUnreadable: the body is longer than `max_bytes`.
    """

    def __init__(self, chunks: Iterable[bytes], max_bytes: int, *, start: int = 0) -> None:
        self._chunks = iter(chunks)
        self._start = start
        self._pending: list[memoryview] = []
        """Bytes to read before the next chunk, in reverse order: the last item is read first."""
        self._max_bytes = max_bytes
        self.received = 0

    def next_chunk(self) -> bytes:
        """Return the next bytes, at most `CHUNK_BYTES`; empty only at the end of the body."""
        while not self._pending:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self.received += len(chunk)
            if self.received > self._max_bytes:
                raise ReplyUnreadable(f"the reply is larger than the limit of {self._max_bytes} bytes")
            self.unread(chunk)
        data = self._pending.pop()
        self.unread(data[CHUNK_BYTES:])
        return bytes(data[:CHUNK_BYTES])

    @property
    def position(self) -> int:
        """The number of bytes of the body that were read."""
        return self._start + self.received - sum(map(len, self._pending))

    def read_all(self) -> bytes:
        """Read all remaining bytes."""
        return b"".join(iter(self.next_chunk, b""))

    def unread(self, data: bytes | memoryview) -> None:
        """Put bytes back in front of the remaining bytes."""
        if data:
            self._pending.append(memoryview(data))


class Text:
    """A body that is read as JSON text, value by value. It keeps little more than the current value."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._decode = codecs.getincrementaldecoder("utf-8")("strict")
        self._text = ""
        self._at = 0
        self._ended = False

    def _fill(self) -> bool:
        """Read more text, at least as much as is unread. The time for a long value then stays linear."""
        parts = [self._text[self._at :]]
        wanted = len(parts[0]) + 1
        while wanted > 0 and not self._ended:
            data = self._body.next_chunk()
            self._ended = not data
            try:
                parts.append(self._decode.decode(data, final=self._ended))
            except UnicodeDecodeError as error:
                raise ReplyUnreadable(
                    f"the reply is not UTF-8: {error.reason}, after byte {self.position}"
                ) from None
            wanted -= len(parts[-1])
        grown = sum(map(len, parts)) > len(parts[0])
        self._text, self._at = "".join(parts), 0
        return grown

    @property
    def position(self) -> int:
        """The number of bytes of the body before the next character."""
        undecoded, _ = self._decode.getstate()
        return self._body.position - len(undecoded) - len(self._text[self._at :].encode())

    def peek(self) -> str:
        """Return the next character that is not blank; empty at the end of the body."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._fill():
                return ""

    def take(self, wanted: str) -> str:
        """Read the next character, which must be one of `wanted`."""
        found = self.peek()
        if not found:
            raise ReplyUnreadable(
                f"the reply is truncated: it ends where one of {wanted!r} is expected,"
                f" after byte {self.position}"
            )
        if found not in wanted:
            raise ReplyUnreadable(
                f"the reply is not JSON: one of {wanted!r} is expected after byte {self.position}"
            )
        self._at += 1
        return found

    def value(self, decoder: json.JSONDecoder) -> Any:
        """Read the next JSON value."""
        self.peek()
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, RecursionError):
                    raise ReplyUnreadable(
                        f"the reply is nested too deeply, after byte {self.position}"
                    ) from None
                if len(self._text) - self._at > _LONGEST_VALUE:
                    raise ReplyUnreadable(
                        f"a value of the reply is longer than {_LONGEST_VALUE} characters,"
                        f" after byte {self.position}"
                    ) from None
                if not self._fill():
                    raise self._not_json(error) from None
                continue
            # a number at the end of the buffer may continue after it
            if end < len(self._text) or not self._fill():
                self._at = end
                return value

    def return_unread(self) -> None:
        """Put all unread text back into the body, as bytes."""
        pending, _ = self._decode.getstate()
        self._body.unread(self._text[self._at :].encode() + bytes(pending))
        self._decode.reset()
        self._text, self._at, self._ended = "", 0, False

    def _not_json(self, error: ValueError) -> ReplyUnreadable:
        if not self._text[self._at :]:
            return ReplyUnreadable(
                f"the reply is truncated: it ends where a value is expected, after byte {self.position}"
            )
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "unreadable number"
        return ReplyUnreadable(
            f"the reply is truncated or is not JSON: {reason}, in the value after byte {self.position}"
        )
