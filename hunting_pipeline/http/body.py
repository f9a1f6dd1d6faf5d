"""Decompression of a reply's body with bounded memory.

httpx decompresses 64 MiB at a time and accepts a gzip body that ends early. In this module, a decompression
bomb uses the memory of one chunk, and a truncated body is an error.
"""

from collections.abc import Iterator

from zlib_ng import zlib_ng

from hunting_pipeline.http.verdict import NotAccepted, Refuse, Retry, Split, printable

__all__ = ["ENCODINGS", "inflate"]

CHUNK = 256 << 10
"""Largest number of bytes that are decompressed or yielded at a time."""
ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
"""Supported values of Content-Encoding (RFC 9110 §8.4.1)."""
_AUTO = 32 + zlib_ng.MAX_WBITS
"""zlib's window bits for automatic detection of gzip or zlib by the header."""


def inflate(raw: Iterator[bytes], encoding: str, *, ceiling: int) -> Iterator[bytes]:
    """Return the decompressed bytes of a body, in chunks of at most `CHUNK` bytes.

    This function cannot detect that a body without compression and without Content-Length is truncated. The
    JSON reader must detect it.

    Raises:
        NotAccepted: Split if the body has more than `ceiling` bytes, compressed or not; Retry if the
            compressed body is truncated or damaged; Refuse for an encoding that was not requested.
    """
    encoding = encoding.strip().lower()
    if encoding not in ENCODINGS:
        raise NotAccepted(
            Refuse(f"the reply has an encoding that was not requested: {printable(encoding, limit=50)}")
        )
    raw = _bounded(raw, ceiling=ceiling)
    return raw if encoding in ("", "identity") else _bounded(_members(raw), ceiling=ceiling)


def _bounded(chunks: Iterator[bytes], *, ceiling: int) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > ceiling:
            raise NotAccepted(Split(f"the reply is larger than {ceiling} bytes"))
        for start in range(0, len(chunk), CHUNK):
            yield chunk[start : start + CHUNK]


def _members(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Inflate the streams of a body. A gzip body may have several streams; the last must be complete."""
    stream, begun = zlib_ng.decompressobj(_AUTO), False
    for chunk in raw:
        rest, plain, begun = chunk, b"", True
        while rest or len(plain) == CHUNK:  # after a full chunk, zlib may still hold output
            if stream.eof:
                if not rest:
                    break
                stream = zlib_ng.decompressobj(_AUTO)
            try:
                plain = stream.decompress(rest, CHUNK)
            except zlib_ng.error as error:  # type: ignore[misc] # its stub types the class as an instance
                raise NotAccepted(Retry(f"the compressed reply is damaged: {error}")) from None
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
            if plain:
                yield plain
    if not begun or not stream.eof:
        raise NotAccepted(Retry("the compressed reply is truncated"))
