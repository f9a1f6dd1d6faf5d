"""Hostile bodies: each ends in a documented error, within bounded memory, on every path.

Time is bounded too: code that takes the square of a body's length would hang here.
"""

import json
import subprocess
import sys
from pathlib import Path

import decode_bombs
import pytest
from decode_compare import same
from test_decode import LIMIT, reply

from hunting_pipeline.decode import decode, fast
from hunting_pipeline.errors import ReplyUnreadable

SCHEMA = {"A": "Int64", "B": "Int64"}
ROW = '{"A":1,"B":2}'
ANNOTATED = '{"A@odata.type":"#Int64","A":{},"B":{}}'
BLOCKS = [1, 40, 100, 4 << 20]


@pytest.fixture(params=BLOCKS)
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Set the size of a block: from one row each to all rows in one."""
    monkeypatch.setattr(fast, "_BLOCK", request.param)
    return int(request.param)


HIDDEN = {
    "a null type": '"A@odata.type":null',
    "an empty type": '"A@odata.type":{}',
    "a null type of the row": '"@odata.type":null',
    "a null type of no column": '"X@odata.type":null',
    "a null type with an escape": '"A\\u0040odata.type":null',
    "a null type with an escape at its end": '"A@odata.typ\\u0065":null',
}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN.keys())
@pytest.mark.parametrize("lacking", ['{"A":2}', '{"A@odata.type":"#Int64","B":2}'])
def test_a_null_elsewhere_never_hides_that_a_key_is_missing(hidden: str, lacking: str, block: int) -> None:
    other = f'{{"A":3,{hidden},"B":4}}'
    assert not same(reply(SCHEMA, ROW, ANNOTATED, lacking, other, ROW, graph=True), block=block, step=30)
    assert same(reply(SCHEMA, ROW, ANNOTATED, other, ROW, graph=True), block=block, step=30)


STRINGS = ['\\":{}', '\\":null', '\\\\\\":{}', "\\\\", '},{\\"S\\":', "@odata.type", '\\"S@odata.type\\":']


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("plain", [0, 1, 5])
def test_annotations_and_empty_objects_that_begin_in_a_later_row(plain: int, graph: bool, block: int) -> None:
    schema = {"S": "String", "S1": "String", "I1": "Int64", "D": "Object", "D2": "Dynamic"}
    rows = [f'{{"S":"{s}","S1":"{s}","I1":7,"D":["{s}"],"D2":{{"S":{{}},"D2":null}}}}' for s in STRINGS]
    noisy = [
        f'{{{first}"S":"{s}","S1":{{}},"X@odata.type":"y","I1@odata.type":"#Int64","I1":{{}},'
        f'"D":{{"@odata.type":"#x","{s}":{{}},"D2":{{}}}},"D2":{{}}}}'
        for s in STRINGS
        for first in ("", '"S@odata.type":"#String",')
    ]
    assert same(reply(schema, *rows[:plain], *noisy, *rows, graph=graph), block=block, step=97)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_a_cut_at_any_byte_of_many_blocks(graph: bool, late: bool, block: int) -> None:
    rows = [ROW, ANNOTATED] * 4
    body = reply(SCHEMA, *rows, graph=graph)
    if late:
        head, _, results = body[1:-1].partition(b'],"')
        body = b'{"' + results + b"," + head + b"]}"
    assert decode([body], max_bytes=LIMIT).table.num_rows == 8
    for length in range(len(body)):
        with pytest.raises(ReplyUnreadable):
            decode([body[:length]], max_bytes=LIMIT)


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88", b"\x00", b"\x1f"], ids=repr)
@pytest.mark.parametrize(
    "place",
    ['"?@odata.type":"x",', '"A@odata.type":"?",', '"?":1,', "?"],
    ids=["mark", "type", "key", "between"],
)
def test_a_bad_byte_in_a_late_block_is_refused(bad: bytes, place: str, block: int) -> None:
    row = ("{" + place + ROW[1:]).encode().replace(b"?", bad)
    body = reply(SCHEMA, *[ROW] * 9, "ROW", *[ROW] * 9, graph=True).replace(b"ROW", row)
    assert not same(body, block=block, step=60)


DEEP = 10_000


@pytest.mark.parametrize("nest", ["[", '{"a":', '{"@odata.type":"x","a":['], ids=["list", "object", "noise"])
def test_nesting_anywhere_is_refused(nest: str, block: int) -> None:
    deep = nest * DEEP + "1" + "".join({"[": "]", "{": "}"}.get(c, "") for c in reversed(nest)) * DEEP
    schema = {"A": "Int64", "D": "Object"}
    for row in (f'{{"A":1,"D":{deep}}}', f'{{"A":{deep},"D":1}}', f'{{"X@odata.type":{deep},"A":1,"D":1}}'):
        rows = [*['{"A":1,"D":{"a":[1]}}'] * 5, row, '{"A":1,"D":1}']
        with pytest.raises(ReplyUnreadable, match="deep"):
            decode([reply(schema, *rows)], max_bytes=LIMIT)
    for key in ("Stats", "unknown", "Schema"):
        body = reply(schema).replace(b"{", f'{{"{key}":{deep},'.encode(), 1)
        with pytest.raises(ReplyUnreadable, match="deep"):
            decode([body], max_bytes=LIMIT)


def test_nesting_inside_strings_stays_text_where_it_would_be_too_deep() -> None:
    for levels in (97, 98, 99, 200, DEEP):
        inner = '{\\"a\\":' * levels + "1" + "}" * levels
        assert same(reply({"D": "Object"}, f'{{"D":["{inner}"]}}', '{"D":1}'), block=40, step=999)


def test_a_type_annotation_after_an_escaped_quote_is_part_of_a_key() -> None:
    row = r'{"D":{"k\"@odata.type":"#microsoft.graph.security.dynamicColumnValue","k\"":{"a":1},"b":2}}'
    assert same(reply({"D": "Object"}, *[row] * 3), block=4 << 20, step=1 << 20)


def test_objects_in_strings_in_objects_are_read_once_at_every_level() -> None:
    """Reading twice at every level would take 2^40 times as long."""
    inner = '{"a":1}'
    for _ in range(40):
        inner = '{"a":["' + inner.replace("\\", "\\u005c").replace('"', "\\u0022") + '"]}'
    read = decode([reply({"D": "Object"}, f'{{"D":{json.dumps([inner])}}}', '{"D":1}')], max_bytes=LIMIT)
    assert read.table["D"][0].as_py() == "[" + '{"a":[' * 40 + '{"a":1}' + "]}" * 40 + "]"


def test_a_schema_or_a_row_with_very_many_columns_is_read_once() -> None:
    columns = {f"c{n}": "Int64" for n in range(40_000)}
    assert len(decode([reply(columns)], max_bytes=LIMIT).columns) == 40_000
    with pytest.raises(ReplyUnreadable, match="twice"):
        decode([reply(columns).replace(b'"c7"', b'"c8"')], max_bytes=LIMIT)
    row = "{" + ",".join(f'"{name}":1' for name in columns) + ',"c39999":1}'
    with pytest.raises(ReplyUnreadable, match="twice"):
        decode([reply(SCHEMA, row, ROW)], max_bytes=LIMIT)


@pytest.mark.parametrize("bomb", decode_bombs.BOMBS)
def test_a_bomb_costs_bounded_memory(bomb: str) -> None:
    ran = subprocess.run(
        [sys.executable, decode_bombs.__file__, bomb],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr
    ended, grown = ran.stdout.split()
    assert ended in ("ReplyUnreadable", "Split", "read")
    assert int(grown) < 400, f"{bomb} grew the process by {grown} MB"
