"""What decode promises, by example. `test_decode_exact.py` compares it with a slow reference."""

import json

import pyarrow as pa
import pytest

from hunting_pipeline.decode import decode
from hunting_pipeline.model import Column, Reply

LIMIT = 1 << 24
DOCUMENTED = b"""{
  "Stats": {
    "ExecutionTime": 4.621215,
    "resource_usage": {"cpu": {"user": "00:00:19.0468750", "kernel": "00:00:00.0156250"}}
  },
  "Schema": [
    {"Name": "Timestamp", "Type": "DateTime"},
    {"Name": "FileName", "Type": "String"},
    {"Name": "InitiatingProcessFileName", "Type": "String"}
  ],
  "Results": [
    {
      "Timestamp": "2020-08-30T06:38:35.7664356Z",
      "FileName": "conhost.exe",
      "InitiatingProcessFileName": "powershell.exe"
    },
    {
      "Timestamp": "2020-08-30T06:38:30.5163363Z",
      "FileName": "conhost.exe",
      "InitiatingProcessFileName": "powershell.exe"
    }
  ]
}"""


def reply(schema: dict[str, str], *rows: str, graph: bool = False) -> bytes:
    """A compact body; rows are JSON texts."""
    name, kind, head, results = (
        ("name", "type", "schema", "results") if graph else ("Name", "Type", "Schema", "Results")
    )
    columns = json.dumps([{name: n, kind: t} for n, t in schema.items()])
    return f'{{"{head}":{columns},"{results}":[{",".join(rows)}]}}'.encode()


def one(wire: str, *values: str, graph: bool = False) -> Reply:
    """The reply of one column `C` whose values are JSON texts."""
    return decode([reply({"C": wire}, *(f'{{"C":{v}}}' for v in values), graph=graph)], max_bytes=LIMIT)


def column(wire: str, *values: str) -> list[object]:
    """The values of such a reply; times and durations as nanoseconds."""
    found = one(wire, *values).table.column("C")
    return (found.cast(pa.int64()) if pa.types.is_temporal(found.type) else found).to_pylist()


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_the_documented_reply(step: int) -> None:
    body = (DOCUMENTED[i : i + step] for i in range(0, len(DOCUMENTED), step))
    found = decode(body, max_bytes=LIMIT)
    names = ("Timestamp", "FileName", "InitiatingProcessFileName")
    assert found.columns == tuple(map(Column, names, ("datetime", "string", "string")))
    types = (pa.timestamp("ns", "UTC"), pa.string(), pa.string())
    assert found.table.schema == pa.schema(zip(names, types, strict=True))
    times = found.table.column("Timestamp").cast(pa.int64()).to_pylist()
    assert times == [1598769515766435600, 1598769510516336300]
    assert found.table.column(1).to_pylist() == ["conhost.exe"] * 2
    assert found.table.column(2).to_pylist() == ["powershell.exe"] * 2
    assert found.stats["ExecutionTime"] == 4.621215
    assert (found.body_bytes, found.rescued) == (len(DOCUMENTED), 0)
