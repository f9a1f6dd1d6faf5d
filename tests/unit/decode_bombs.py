"""Bodies that are small on the wire and large in a careless reader. As a program, it prints the cost of one.

python tests/unit/decode_bombs.py BOMB
"""

import resource
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import trustme
from test_http_client import asking
from test_http_transport import answer

from hunting_pipeline.decode import decode
from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.http.client import NotAccepted

CEILING = 50_000_000


def head(columns: int) -> bytes:
    """Build all bytes before the rows of a reply with this number of text columns."""
    entries = b",".join(b'{"name":"c%d","type":"String"}' % n for n in range(columns))
    return b'{"schema":[' + entries + b'],"results":['


def rows(columns: int, row: bytes, times: int) -> Iterator[bytes]:
    yield head(columns)
    for _ in range(times // 1000):
        yield (row + b",") * 1000
    yield row + b"]}"


def annotated() -> Iterator[bytes]:
    """Yield thousands of rows with the type of a column that does not exist, then many rows without one."""
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


def compressed() -> bytes:
    """Compress 90 MB of rows into a few hundred kilobytes."""
    packer = zlib.compressobj(wbits=31)
    chunk = b'{"c0":"0123456789","c1":null},' * 50_000
    return b"".join([packer.compress(head(2)), *(packer.compress(chunk) for _ in range(60)), packer.flush()])


BODIES = {
    "rows that lack nearly all of many columns": lambda: rows(1000, b'{"c1":""}', 400_000),
    "rows without a comma that hold nothing": lambda: rows(500, b'{"c1":""}' + b" {}" * 1000, 3000),
    "annotations without a column": annotated,
    "a row without end": endless,
}
BOMBS = [*BODIES, "gzip over a socket"]


def ends(bomb: str) -> str:
    """Decode a bomb and return how it ends."""
    try:
        if bomb in BODIES:
            decode(BODIES[bomb](), max_bytes=CEILING)
            return "read"
        script = answer(200, compressed(), content_encoding="gzip")
        with tempfile.TemporaryDirectory() as folder:
            served = asking(script, trustme.CA(), Path(folder), ceiling=CEILING)
            with served as (client, _), client.ask("T") as pieces:
                decode(pieces, max_bytes=CEILING)
    except ReplyUnreadable:
        return "ReplyUnreadable"
    except NotAccepted as error:
        return type(error.verdict).__name__
    return "read"


def peak() -> int:
    """Return the peak memory of the process in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    before = peak()
    ended = ends(sys.argv[1])
    sys.stdout.write(f"{ended} {peak() - before}\n")
