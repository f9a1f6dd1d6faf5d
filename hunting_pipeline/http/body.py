"""From raw body to plain bytes, with a bound at every step.

httpx would inflate 64 MiB at a time and take a gzip body that ends early for whole; here a bomb costs one
chunk and a cut is noticed.
"""

from collections.abc import Iterator

from zlib_ng import zlib_ng

from hunting_pipeline.http.verdict import NotAccepted, Refuse, Retry, Split, printable

__all__ = ["ENCODINGS", "inflate"]

CHUNK = 256 << 10
"""Most bytes handed on, or inflated, at a time."""
ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
"""Values of Content-Encoding that are understood (RFC 9110 §8.4.1)."""
_AUTO = 32 + zlib_ng.MAX_WBITS
"""zlib's window bits for 'gzip or zlib, whichever the header says'."""


def inflate(raw: Iterator[bytes], encoding: str, *, ceiling: int) -> Iterator[bytes]:
    """The plain bytes of a body, in pieces of at most `CHUNK`.

    A body that is cut without a Content-Length and without compression cannot be told from a whole one here:
    the reader of the JSON must notice.

    Raises:
        NotAccepted: Split once more than `ceiling` bytes arrived or were inflated; Retry if the compressed
            body is cut or damaged; Refuse for an encoding that was not asked for.
    """
    encoding = encoding.strip().lower()
    if encoding not in ENCODINGS:
        raise NotAccepted(
            Refuse(f"the reply came in an encoding not asked for: {printable(encoding, limit=50)}")
        )
    raw = _bounded(raw, ceiling=ceiling)
    return raw if encoding in ("", "identity") else _bounded(_members(raw), ceiling=ceiling)


def _bounded(pieces: Iterator[bytes], *, ceiling: int) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > ceiling:
            raise NotAccepted(Split(f"the reply is larger than {ceiling} bytes"))
        for start in range(0, len(piece), CHUNK):
            yield piece[start : start + CHUNK]


def _members(raw: Iterator[bytes]) -> Iterator[bytes]:
    """One compressed stream after another, as gzip allows; the last must be complete."""
    stream, begun = zlib_ng.decompressobj(_AUTO), False
    for piece in raw:
        rest, plain, begun = piece, b"", True
        while rest or len(plain) == CHUNK:  # a full chunk may leave more inside zlib
            if stream.eof:
                if not rest:
                    break
                stream = zlib_ng.decompressobj(_AUTO)
            try:
                plain = stream.decompress(rest, CHUNK)
            except zlib_ng.error as error:  # type: ignore[misc] # its stub takes the class for an instance
                raise NotAccepted(Retry(f"the compressed reply is damaged: {error}")) from None
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
            if plain:
                yield plain
    if not begun or not stream.eof:
        raise NotAccepted(Retry("the compressed reply was cut short"))
