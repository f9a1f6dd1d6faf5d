"""The first corpus: small replies in both envelopes with every type, in the form of `fuzz_decode.py`.

python tests/fuzz/seeds.py FOLDER
"""

import json
import random
import sys
from pathlib import Path

VALUES = {
    "String": ['"\\":{}"', '"a},{"', '"\\\\"', '"\\":null"', "null"],
    "DateTime": ['"2026-11-20T10:00:00.1234567Z"', '"0001-01-01T00:00:00Z"', "null"],
    "SByte": ["0", "1", "null"],
    "Boolean": ["true", "false"],
    "Int32": ["1", "-2147483648", "null"],
    "Int64": ["9007199254740993", "null"],
    "Double": ["0.1", '"NaN"', "1E5"],
    "SqlDecimal": ['"1.10"', "2"],
    "Guid": ['"6b6f7b3a-0000-4000-8000-000000000001"', "null"],
    "TimeSpan": ['"-1.02:03:04.0000001"', '"PT1.5S"'],
    "Object": ['{"a":[1,{"b":"},{"}]}', '["{\\"a\\":1}"]', "null", "1.50"],
}
HEADERS = (b"\x00\x00\x00", b"\x01\x01\x00", b"\x02\x02\x00", b"\x01\x03\x02")
"""Block size, chunk size and form: a plain or a compressed body; see `fuzz_decode.target`."""
DRAWN = b"\x00\x00\x03"


def rows(wires: dict[str, str], *, graph: bool) -> list[str]:
    """Build six rows; for Graph some with annotations, and `{}` for null."""
    written = []
    for n in range(6):
        pairs = []
        for name, wire in wires.items():
            value = VALUES[wire][n % len(VALUES[wire])]
            if graph and n % 3:
                pairs.append(f'"{name}@odata.type":"#{wire}"')
            pairs.append(f'"{name}":{"{}" if graph and value == "null" else value}')
        written.append("{" + ",".join(pairs) + "}")
    return written


def body(wires: dict[str, str], *, graph: bool, late: bool = False) -> bytes:
    """Build a reply; `late` puts its Schema after its Results."""
    name, kind = ("name", "type") if graph else ("Name", "Type")
    schema = json.dumps([{name: n, kind: w} for n, w in wires.items()], separators=(",", ":"))
    parts = [
        f'"{"schema" if graph else "Schema"}":{schema}',
        f'"{"results" if graph else "Results"}":[{",".join(rows(wires, graph=graph))}]',
    ]
    return ("{" + ",".join(reversed(parts) if late else parts) + "}").encode()


def seeds() -> list[bytes]:
    """Write bodies, and choices for hypothesis, each after a header."""
    wires = list(VALUES)
    tables = [dict(zip("AB", pair, strict=True)) for pair in zip(wires, wires[1:] + wires[:1], strict=True)]
    bodies = [body(table, graph=graph) for table in tables for graph in (False, True)]
    bodies += [body({"A": "Int64", "B": "Object"}, graph=graph, late=True) for graph in (False, True)]
    written = [HEADERS[i % len(HEADERS)] + data for i, data in enumerate(bodies)]
    return written + [DRAWN + random.Random(n).randbytes(600) for n in range(16)]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (folder / f"seed-{number:02}").write_bytes(seed)
