"""Examples of decoding. `test_decode_exact.py` compares decoding with a slow reference."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal

import pyarrow as pa
import pytest

from hunting_pipeline.decode import decode, fast
from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.model import Column
from hunting_pipeline.reply import Reply

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
    """Build a compact body; rows are JSON texts."""
    name, kind, head, results = (
        ("name", "type", "schema", "results") if graph else ("Name", "Type", "Schema", "Results")
    )
    columns = json.dumps([{name: n, kind: t} for n, t in schema.items()])
    return f'{{"{head}":{columns},"{results}":[{",".join(rows)}]}}'.encode()


def one(wire: str, *values: str, graph: bool = False) -> Reply:
    """Decode a reply with one column `C`, whose values are JSON texts."""
    return decode([reply({"C": wire}, *(f'{{"C":{v}}}' for v in values), graph=graph)], max_bytes=LIMIT)


def column(wire: str, *values: str) -> list[object]:
    """Return the values of such a reply; times and durations in nanoseconds."""
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


@pytest.mark.parametrize(
    ("wire", "values", "wanted"),
    [
        ("String", ('""', "null", "{}", '"\\u00e9\\/"', '"😀"'), ["", None, None, "é/", "😀"]),
        ("SByte", ("0", "1", "null", "{}"), [False, True, None, None]),
        ("SByte", ("false", "true"), [False, True]),
        ("Boolean", ("0", "true"), [False, True]),
        ("Byte", ("255",), [255]),
        ("UInt32", ("4294967295",), [4294967295]),
        ("Int64", ("9007199254740993", "-9223372036854775808"), [9007199254740993, -(2**63)]),
        (
            "Double",
            ("1", "0.1", '"Infinity"', "-Infinity", '"-INF"'),
            [1.0, 0.1, math.inf, -math.inf, -math.inf],
        ),
        ("SqlDecimal", ('"1.10"', "2", "1E3"), [Decimal("1.1"), Decimal(2), Decimal(1000)]),
        ("Guid", ('"6b6f7b3a-0000-4000-8000-000000000001"',), ["6b6f7b3a-0000-4000-8000-000000000001"]),
        (
            "TimeSpan",
            ('"-1.02:03:04.0000005"', '"PT1.5S"', '"P1DT1H"'),
            [-93784000000500, 1500000000, 90000 * 10**9],
        ),
        (
            "DateTime",
            ('"2020-08-30T06:38:35.7664356Z"', '"1970-01-01T01:00:00+01:00"'),
            [1598769515766435600, 0],
        ),
        ("Geography", ('"x"', '{"a": 1}'), ['"x"', '{"a":1}']),
    ],
)
def test_each_type_is_decoded(wire: str, values: tuple[str, ...], wanted: list[object]) -> None:
    assert column(wire, *values) == wanted
    assert one(wire, *values).rescued == 0


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        ("DateTime", '"0001-01-01T00:00:00Z"'),
        ("DateTime", '"9999-12-31T23:59:59.9999999Z"'),
        ("DateTime", "5"),
        ("Int32", "2147483648"),
        ("Int32", "12.0"),
        ("Int64", '"7"'),
        ("UInt64", "18446744073709551615"),
        ("Int64", "[1,{}]"),
        ("SByte", "2"),
        ("Double", '"12.5"'),
        ("Double", "1e400"),
        ("SqlDecimal", "0.1234567890123456789"),
        ("SqlDecimal", "123456789012345678901"),
        ("TimeSpan", '"106752.00:00:00"'),
        ("TimeSpan", '"PT"'),
        ("String", "1.50"),
        ("String", '{"a":[]}'),
        ("String", '"\\ud800"'),
    ],
)
def test_a_value_that_does_not_fit_is_rescued_verbatim(wire: str, value: str) -> None:
    found = one(wire, "null", value, "null")
    assert found.rescued == 1
    assert found.table.column("C").null_count == 3
    assert found.table.column_names == ["C", "_rescued_data"]
    assert found.table.column("_rescued_data").to_pylist() == [None, f'{{"C":{value}}}', None]


def test_rescued_values_of_one_row_are_one_object_in_that_row() -> None:
    rows = [
        f'{{"A":"{year}-01-01T00:00:00Z","B":{i}}}' for i, year in enumerate(["2020", "0001", "2021", "2022"])
    ]
    rows[2] = '{"A":"x","B":"y"}'
    found = decode([reply({"A": "DateTime", "B": "Int32"}, *rows)], max_bytes=LIMIT)
    assert found.rescued == 3
    kept = found.table.column("_rescued_data").to_pylist()
    assert kept == [None, '{"A":"0001-01-01T00:00:00Z"}', '{"A":"x","B":"y"}', None]


MARK = '"@odata.type":"#microsoft.graph.security.dynamicColumnValue"'


@pytest.mark.parametrize(
    ("xdr", "graph", "text"),
    [
        ("null", "{}", None),
        ("{}", f"{{{MARK}}}", None),
        ('{"a":1.50,"b":{"c":[]}}', f'{{{MARK},"a":1.50,"b":{{{MARK},"c":[]}}}}', '{"a":1.50,"b":{"c":[]}}'),
        (
            '[{"a":"é"},{}]',
            f'["{{{MARK},\\"a\\":\\"é\\"}}"'.replace(MARK, json.dumps(MARK)[1:-1]) + ',"{}"]',
            '[{"a":"é"},{}]',
        ),
        ('["a","{b"]', '["a","{b"]', '["a","{b"]'),
        (
            '{"t":"2020-01-01T00:00:00.5Z"}',
            '{"t":"2020-01-01T00:00:00.5000000Z"}',
            '{"t":"2020-01-01T00:00:00.5Z"}',
        ),
        ('"2020-01-01T00:00:00Z"', '"2020-01-01T00:00:00.0000000Z"', '"2020-01-01T00:00:00Z"'),
        ('{"b":1, "a" : -0}', '{"b":1,"x@odata.type":"#Int64","a":-0}', '{"b":1,"a":-0}'),
        ("12345678901234567890123", "12345678901234567890123", "12345678901234567890123"),
        ('"\\ud800<"', '"\\uD800\\u003c"', '"\\ud800<"'),
        ("[NaN]", '["NaN"]', '["NaN"]'),
    ],
)
def test_dynamic_text_is_the_same_on_every_api(xdr: str, graph: str, text: str | None) -> None:
    assert one("Object", xdr).table.column("C").to_pylist() == [text]
    assert one("Object", graph, graph=True).table.column("C").to_pylist() == [text]
    # in one block with rows whose values are written in one step
    assert column("Object", '{"a":1}', xdr, graph, "true") == ['{"a":1}', text, text, "true"]


ENVELOPES = {
    "nothing": b"",
    "no object": b"[]",
    "empty": b"{}",
    "an error": b'{"error":{"code":"BadRequest"}}',
    "no Results": b'{"Schema":[{"Name":"A","Type":"String"}]}',
    "no Schema": b'{"Results":[]}',
    "an empty Schema": b'{"Schema":[],"Results":[]}',
    "Schema twice": b'{"Schema":[{"Name":"A","Type":"String"}],"schema":[],"Results":[]}',
    "a key twice": b'{"a":1,"a":1,"Schema":[{"Name":"A","Type":"String"}],"Results":[]}',
    "no type": b'{"Schema":[{"Name":"A"}],"Results":[]}',
    "a column twice": b'{"Schema":[{"Name":"A","Type":"String"},{"Name":"A","Type":"Int32"}],"Results":[]}',
    "a reserved column": b'{"Schema":[{"Name":"_rescued_data","Type":"String"}],"Results":[]}',
    "Results null": b'{"Schema":[{"Name":"A","Type":"String"}],"Results":null}',
    "Stats no object": b'{"Stats":1,"Schema":[{"Name":"A","Type":"String"}],"Results":[]}',
    "something behind": b'{"Schema":[{"Name":"A","Type":"String"}],"Results":[]} {}',
    "a byte order mark": b'\xef\xbb\xbf{"Schema":[{"Name":"A","Type":"String"}],"Results":[]}',
    "a trailing comma": b'{"Schema":[{"Name":"A","Type":"String"}],"Results":[],}',
    "a proxy's page": b"<html><body>502 Bad Gateway</body></html>" * 50,
}


@pytest.mark.parametrize("body", ENVELOPES.values(), ids=ENVELOPES.keys())
def test_a_body_that_is_no_reply_is_refused(body: bytes) -> None:
    with pytest.raises(ReplyUnreadable) as caught:
        decode([body], max_bytes=LIMIT)
    assert len(str(caught.value)) < 300


ROWS = {
    "a missing key": '{"A":null}',
    "an extra key": '{"A":null,"B":1,"C":1}',
    "a key twice": '{"A":null,"B":1,"B":1}',
    "a key of another case": '{"A":null,"b":1}',
    "an array": "[null,1]",
    "null": "null",
    "no JSON": '{"A":null,"B":1',
    "an unknown literal": '{"A":null,"B":Inf}',
    "a raw control character": '{"A":"\n","B":1}',
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_row_that_contradicts_the_schema_is_refused(row: str, at: int) -> None:
    rows = ['{"A":"x","B":2}'] * 2
    rows.insert(at, row)
    with pytest.raises(ReplyUnreadable):
        decode([reply({"A": "String", "B": "Int32"}, *rows)], max_bytes=LIMIT)


@pytest.mark.parametrize("null", ["null", "{}"])
def test_an_annotation_without_a_text_hides_no_missing_key(
    null: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "_BLOCK", 100)
    rows = [f'{{"Ae":"x","Be@odata.type":"#Int64","Be":{i}}}' for i in range(20)]
    rows[10] = f'{{"Ae":"x","Be@odata.type":{null}}}'
    with pytest.raises(ReplyUnreadable, match="lacks the column 'Be'"):
        decode([reply({"Ae": "String", "Be": "Int64"}, *rows, graph=True)], max_bytes=LIMIT)


@pytest.mark.parametrize("graph", [False, True])
def test_a_body_cut_short_at_any_byte_is_refused(graph: bool) -> None:
    rows = ['{"A":"x},{","B@odata.type":"#Int64","B":12,"C":{"d":[1]}}'] * 3
    body = reply({"A": "String", "B": "Int64", "C": "Object"}, *rows, graph=graph)
    assert decode([body], max_bytes=LIMIT).table.num_rows == 3
    for length in range(len(body)):
        with pytest.raises(ReplyUnreadable):
            decode([body[:length]], max_bytes=LIMIT)


@pytest.mark.parametrize("wire", ["String", "Object"])
def test_deep_nesting_is_refused(wire: str) -> None:
    assert len(one(wire, "[" * 100 + "]" * 100).table) == 1
    for levels in (101, 900, 10_000, 200_000):
        with pytest.raises(ReplyUnreadable, match="deep"):
            one(wire, "1", "[" * levels + "]" * levels, "1")


def test_invalid_utf8_and_nul_are_refused() -> None:
    body = reply({"A": "String"}, '{"A":"x?"}', '{"A":"y"}')
    for bad in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00"):
        with pytest.raises(ReplyUnreadable):
            decode([body.replace(b"?", bad)], max_bytes=LIMIT)
    with pytest.raises(ReplyUnreadable):
        decode([body.replace(b"},{", b"}\x00{")], max_bytes=LIMIT)


@pytest.mark.parametrize("endless", [b'{"A":"x"},', b'{"A":"', b" ", b"[", b"9"], ids=str)
def test_a_body_without_end_stops_at_the_size_limit(endless: bytes) -> None:
    def body() -> Iterator[bytes]:
        yield reply({"A": "String"})[:-2]
        while True:
            yield endless * 10_000

    with pytest.raises(ReplyUnreadable):
        decode(body(), max_bytes=2_000_000)


def test_the_size_limit_is_inclusive() -> None:
    assert decode([DOCUMENTED], max_bytes=len(DOCUMENTED)).table.num_rows == 2
    with pytest.raises(ReplyUnreadable, match="limit"):
        decode([DOCUMENTED], max_bytes=len(DOCUMENTED) - 1)


def test_an_error_of_the_body_passes_through() -> None:
    def body() -> Iterator[bytes]:
        yield reply({"A": "String"}, *['{"A":"x"}'] * 1000)[:-9]
        raise TimeoutError

    with pytest.raises(TimeoutError):
        decode(body(), max_bytes=LIMIT)


def test_an_empty_result_keeps_its_schema() -> None:
    found = decode([reply({"A": "DateTime", "B": "Object"})], max_bytes=LIMIT)
    assert found.table.num_rows == 0
    assert found.table.schema == pa.schema([("A", pa.timestamp("ns", "UTC")), ("B", pa.string())])


def test_names_that_differ_only_by_case_are_two_columns() -> None:
    found = decode(
        [reply({"LogonId": "Int64", "LogonID": "Int64"}, '{"LogonID":2,"LogonId":1}')], max_bytes=LIMIT
    )
    assert found.table.to_pylist() == [{"LogonId": 1, "LogonID": 2}]


def test_a_nested_value_may_look_like_a_row_separator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_BLOCK", 40)
    nested = '[{"A":1},{"A":2},{"A":3},{"A":4},{"A":5},{"A":6}]'
    rows = [f'{{"A":{nested if i % 3 else i}}}' for i in range(9)]
    wanted = [nested if i % 3 else str(i) for i in range(9)]
    found = decode([reply({"A": "Object"}, *rows)], max_bytes=LIMIT)
    assert found.table.column("A").to_pylist() == wanted
    found = decode([reply({"A": "String"}, *rows)], max_bytes=LIMIT)
    assert found.rescued == 9


@pytest.mark.parametrize("graph", [False, True])
def test_ordinary_replies_take_the_fast_path_alone(graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {
        "T": "DateTime",
        "S": "String",
        "B": "SByte",
        "I": "Int32",
        "L": "Int64",
        "R": "Double",
        "D": "Object",
    }
    rows = []
    for i in range(2000):
        dynamic = json.dumps(
            {"a": i, "b": [{"c": "d"}], "t": f"2026-01-01T00:00:00.{i}Z"}, separators=(",", ":")
        )
        null = "{}" if graph else "null"
        side = '"L@odata.type":"#Int64",' if graph and i % 3 else ""
        if graph:
            dynamic = "{" + MARK + "," + dynamic[1:].replace('[{"c":"d"}]', json.dumps(['{"c":"d"}']))
        time = "0001-01-01T00:00:00Z" if i % 50 == 7 else f"2026-01-01T00:00:00.{i % 997}Z"
        rows.append(
            f'{{"T":"{time}","S":"}},{{\\"T\\":{i} é 😀",'
            f'"B":{i % 2 if i % 5 else null},"I":{i if i % 7 else null},'
            f'{side}"L":{2**60 + i},"R":{i / 7 if i % 11 else null},"D":{dynamic if i % 13 else null}}}'
        )
    monkeypatch.setattr(fast, "_BLOCK", 50_000)
    parsed = []
    batch = fast.FastPath._batch
    monkeypatch.setattr(fast.FastPath, "_batch", lambda path, rows: parsed.append(rows) or batch(path, rows))
    body = reply(schema, *rows, graph=graph)
    found = decode((body[i : i + 5000] for i in range(0, len(body), 5000)), max_bytes=LIMIT)
    assert len(parsed) > 3
    assert sum(parsed) == 1998, "all but the first and the last"
    assert found.table.num_rows == 2000
    assert found.rescued == 40
    assert found.table.column("D").to_pylist()[20] == '{"a":20,"b":[{"c":"d"}],"t":"2026-01-01T00:00:00.2Z"}'
