"""Bodies that are small on the wire and large in a careless reader. As a program: the memory of one body.

python tests/unit/decode_bombs.py BOMB
"""

import resource
import sys
import zlib
from collections.abc import Iterator

from http_handler import client_of, reply

from hunting_pipeline.decode import decode
from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.http.client import NotAccepted

CEILING = 50_000_000


def head(columns: int) -> bytes:
    """Return the start of a reply with `columns` text columns, up to its rows."""
    entries = b",".join(b'{"name":"c%d","type":"String"}' % n for n in range(columns))
    return b'{"schema":[' + entries + b'],"results":['


def rows(columns: int, row: bytes, times: int) -> Iterator[bytes]:
    yield head(columns)
    for _ in range(times // 1000):
        yield (row + b",") * 1000
    yield row + b"]}"


def marked() -> Iterator[bytes]:
    """Yield thousands of rows with a sidecar key of an unknown column, then many rows without."""
    yield head(1)
    yield b"".join(b'{"c0":"","%d@odata.type":"x"},' % n for n in range(5000))
    for _ in range(400):
        yield b'{"c0":""},' * 1000
    yield b'{"c0":""}]}'


def endless() -> Iterator[bytes]:
    """Yield a row that never ends, in a string of escapes."""
    yield head(1) + b'{"c0":"'
    while True:
        yield b"\\u0041" * 50_000


def packed() -> bytes:
    """Return 90 MB of rows, compressed to a few hundred kilobytes."""
    packer = zlib.compressobj(wbits=31)
    rows = b'{"c0":"0123456789","c1":null},' * 50_000
    return b"".join([packer.compress(head(2)), *(packer.compress(rows) for _ in range(60)), packer.flush()])


BODIES = {
    "rows that lack nearly all of many columns": lambda: rows(1000, b'{"c1":""}', 400_000),
    "rows without a comma that hold nothing": lambda: rows(500, b'{"c1":""}' + b" {}" * 1000, 3000),
    "marks of columns that are none": marked,
    "a row without end": endless,
}
BOMBS = [*BODIES, "gzip through the client"]


def ends(bomb: str) -> str:
    """Read a bomb and return the outcome."""
    try:
        if bomb in BODIES:
            decode(BODIES[bomb](), max_bytes=CEILING)
            return "read"
        body = packed()
        served = client_of(lambda _: reply(200, body, content_encoding="gzip"), ceiling=CEILING)
        with served as client, client.ask("T") as chunks:
            decode(chunks, max_bytes=CEILING)
    except ReplyUnreadable:
        return "ReplyUnreadable"
    except NotAccepted as error:
        return type(error.verdict).__name__
    return "read"


def peak() -> int:
    """Return the peak memory of this process, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    before = peak()
    ended = ends(sys.argv[1])
    sys.stdout.write(f"{ended} {peak() - before}\n")
