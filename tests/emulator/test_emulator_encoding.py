"""Values on the wire, byte by byte, against text written by hand."""

from collections.abc import Callable, Iterator

import pytest

from hunting_emulator.encoding import ODATA, PLAIN, Dialect, odata_value
from hunting_emulator.engine import answer
from hunting_emulator.limits import Limits
from hunting_emulator.tenant import Tenant

Encode = Callable[[str, Dialect], str]
MARK = '"@odata.type":"#microsoft.graph.security.dynamicColumnValue"'


@pytest.fixture(scope="module")
def encode() -> Iterator[Encode]:
    tenant = Tenant()
    tenant.cursor().create_function("odata_value", odata_value, ["VARCHAR"], "VARCHAR")

    def encoded(query: str, dialect: Dialect) -> str:
        return answer(tenant, query, Limits(), dialect).body.read().decode()

    yield encoded
    tenant.close()


@pytest.mark.parametrize(
    ("value", "plain", "odata"),
    [
        ("'a\"b\\\\c\\n\\u00e9日'", '"x":"a\\"b\\\\c\\né日"', '"x":"a\\"b\\\\c\\né日"'),
        ("''", '"x":""', '"x":""'),
        ("datetime(2020-08-30T06:38:35.7664356Z)", '"x":"2020-08-30T06:38:35.7664356Z"', None),
        ("datetime(2020-08-30T06:38:35.1200000Z)", '"x":"2020-08-30T06:38:35.12Z"', None),
        ("datetime(2020-08-30T06:38:30Z)", '"x":"2020-08-30T06:38:30Z"', None),
        ("datetime(0001-01-01)", '"x":"0001-01-01T00:00:00Z"', None),
        ("datetime(9999-12-31T23:59:59.9999999Z)", '"x":"9999-12-31T23:59:59.9999999Z"', None),
        ("datetime(null)", '"x":null', '"x":{}'),
        ("true", '"x":1', '"x@odata.type":"#SByte","x":1'),
        ("bool(null)", '"x":null', '"x":{}'),
        ("int(-5)", '"x":-5', '"x":-5'),
        ("9007199254740993", '"x":9007199254740993', '"x@odata.type":"#Int64","x":9007199254740993'),
        ("long(null)", '"x":null', '"x":{}'),
        ("0.5", '"x":0.5', '"x":0.5'),
        ("0.0 / 0.0", '"x":"NaN"', '"x":"NaN"'),
        ("1.0 / 0.0", '"x":"Infinity"', '"x":"Infinity"'),
        ("decimal(1.50)", '"x":"1.5"', '"x":"1.5"'),
        ("guid(74BE27DE-1E4E-49D9-B579-FE0B331D3642)", '"x":"74be27de-1e4e-49d9-b579-fe0b331d3642"', None),
        ("time(1.02:03:04.5000000)", '"x":"1.02:03:04.5000000"', None),
        ("-90s", '"x":"-00:01:30"', None),
        ("dynamic(null)", '"x":null', '"x":{}'),
        ('dynamic({"a": null})', '"x":{"a":null}', f'"x":{{{MARK},"a":null}}'),
        ('dynamic({"a": {"b": "{"}})', '"x":{"a":{"b":"{"}}', f'"x":{{{MARK},"a":{{{MARK},"b":"{{"}}}}'),
        ('dynamic({"a": {"b": 1}})', '"x":{"a":{"b":1}}', f'"x":{{{MARK},"a":{{{MARK},"b":1}}}}'),
        ("dynamic({})", '"x":{}', f'"x":{{{MARK}}}'),
        ('dynamic(["p", "q"])', '"x":["p","q"]', '"x@odata.type":"#Collection(String)","x":["p","q"]'),
        (
            'dynamic([{"a": 1}])',
            '"x":[{"a":1}]',
            '"x@odata.type":"#Collection(String)","x":["{\\"a\\":1}"]',
        ),
    ],
)
def test_values(encode: Encode, value: str, plain: str, odata: str | None) -> None:
    assert encode(f"print x = {value}", PLAIN) == f"{{{plain}}}"
    assert encode(f"print x = {value}", ODATA) == f"{{{odata or plain}}}"


def test_rows_join_to_the_inside_of_an_array(encode: Encode) -> None:
    table = "datatable(LogonId: long, LogonID: bool)[1, true, 2, bool(null)] | sort by LogonId asc"
    assert encode(table, PLAIN) == '{"LogonId":1,"LogonID":1},{"LogonId":2,"LogonID":null}'
    assert encode("print x = 1 | take 0", PLAIN) == ""


def test_manners_of_writing(encode: Encode) -> None:
    table = "print b = true, n = int(null)"
    assert encode(table, Dialect("{}", "none", marks=False, plain_bool=True)) == '{"b":true,"n":{}}'
    assert encode(table, Dialect("null", "all", marks=True)) == '{"b@odata.type":"#SByte","b":1,"n":null}'
