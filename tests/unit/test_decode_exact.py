"""decode against a slow reference, over drawn and mutated bodies, cut into blocks of a few rows."""

import json
import random
from collections.abc import Iterator
from decimal import localcontext
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from decode_reference import KUSTO, Wrong, reference, string
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hunting_pipeline.decode import blocks, decode
from hunting_pipeline.errors import ReplyUnreadable

LIMIT = 1 << 22
QUICK = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))

TRAPS = [
    "",
    "},{",
    '},{"A":',
    '"A":null',
    ":{}",
    ":null",
    '{"A":1}',
    '{"a":{}}',
    "\\",
    '\\"',
    "\u2028é",
    "😀",
    "\x00",
]
texts = st.one_of(st.sampled_from(TRAPS), st.text(max_size=8), st.text(alphabet='\\"{}[]:,A /', max_size=12))
surrogates = st.sampled_from(["\ud800", "a\udfff", "\ud83d\ude00"])
integers = st.one_of(
    st.integers(-(2**63) - 2, 2**64),
    st.sampled_from([0, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), 2**53 + 1]),
).map(str)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["-0", "0.0", "1.50", "1E5", "1e400", "1e-400", "12.0", "NaN", "-Infinity", "1e19", "1e20"]
    ),
    st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**10), max_value=10**10).map(
        str
    ),
)
times = st.one_of(
    st.builds(
        lambda moment, digits: (
            f"{moment:%Y-%m-%dT%H:%M:%S}".zfill(19) + (f".{digits}" if digits else "") + "Z"
        ),
        st.datetimes(),
        st.text("0123456789", max_size=7),
    ),
    st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z", "2021-02-29T00:00:00Z", "now"]),
    st.sampled_from(["2262-04-11T23:47:16.8547758Z", "2262-04-11T23:47:16.8547759Z", "2020-01-01 00:00:00Z"]),
    st.sampled_from(["1677-09-21T00:12:43.1452242Z", "1677-09-21T00:12:43.1452241Z", "2020-01-01T24:00:00Z"]),
)
spans = st.sampled_from(
    [
        "00:00:00",
        "-1.02:03:04.0000001",
        "10675199.02:48:05.4775807",
        "106751.23:47:16.8547758",
        "24:00:00",
        "1:2:3",
    ]
)


def json_texts(graph: bool) -> st.SearchStrategy[str]:
    """JSON texts of dynamic values; on Graph with its noise."""
    leaves = st.one_of(
        st.sampled_from(["null", "true", "false", "{}", "[]"]),
        integers,
        numbers,
        times.map(string),
        texts.map(string),
    )
    mark = '"@odata.type":"#microsoft.graph.security.dynamicColumnValue"'

    def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pairs = st.lists(
            st.tuples(st.one_of(st.sampled_from(["A", "B", "x"]), texts).map(string), inner), max_size=3
        )
        written = pairs.map(lambda p: [f"{k}:{v}" for k, v in p])
        objects = written.map(lambda p: "{" + ",".join(p) + "}")
        arrays = st.lists(inner, max_size=3).map(lambda v: "[" + ",".join(v) + "]")
        if not graph:
            return st.one_of(objects, arrays)
        marked = written.map(lambda p: "{" + ",".join([mark, *p]) + "}")
        wrapped = st.lists(marked, max_size=3).map(lambda v: "[" + ",".join(map(string, v)) + "]")
        return st.one_of(objects, arrays, marked, wrapped)

    return st.recursive(leaves, nested, max_leaves=6)


def fitting(wire: str, graph: bool) -> st.SearchStrategy[str]:
    """JSON texts of values that a column of this wire type mostly holds."""
    null = "{}" if graph else "null"
    kusto = KUSTO.get(wire, "dynamic")
    drawn: dict[str, st.SearchStrategy[str]] = {
        "string": texts.map(string),
        "guid": st.uuids().map(str).map(string),
        "datetime": times.map(string),
        "timespan": spans.map(string),
        "bool": st.sampled_from(["0", "1"]) if wire == "SByte" else st.sampled_from(["true", "false"]),
        "int": st.integers(0, 2**31 - 1).map(str),
        "long": integers,
        "real": st.one_of(numbers, integers),
        "decimal": st.one_of(numbers, numbers.map(string)),
        "dynamic": json_texts(graph),
    }
    return st.one_of(drawn[kusto], drawn[kusto], st.just(null))


anything = st.one_of(
    json_texts(False),
    surrogates.map(json.dumps),
    st.sampled_from(["null", "{}", "[]", "2", '"NaN"']),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    graph = draw(st.booleans())
    names = draw(
        st.lists(
            st.sampled_from(["A", "B", "C", "D_2", "é", "a b", 'q"']), min_size=1, max_size=5, unique=True
        )
    )
    wires = [draw(st.sampled_from([*KUSTO, "Geography"])) for _ in names]
    odd = draw(st.sampled_from([0, 0, 0, 5]))
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        pairs = []
        for name, wire in zip(names, wires, strict=True):
            if graph and draw(st.booleans()):
                pairs.append(f'{string(name + "@odata.type")}:"#{wire}"')
            value = anything if odd and draw(st.integers(0, odd)) == 0 else fitting(wire, graph)
            pairs.append(f"{string(name)}:{draw(value)}")
        rows.append("{" + ",".join(pairs) + "}")
    comma = draw(st.sampled_from([",", ",", ",", ", ", "\n,\t"]))
    name_key, type_key = ("name", "type") if graph else ("Name", "Type")
    schema = [f'{{"{name_key}":{string(n)},"{type_key}":"{w}"}}' for n, w in zip(names, wires, strict=True)]
    parts = [
        f'"{"schema" if graph else "Schema"}":[{",".join(schema)}]',
        f'"Results":[{comma.join(rows)}]',
        '"@odata.context":"u"' if graph else '"Stats":{"x":[1]}',
    ]
    order = draw(st.permutations(parts)) if draw(st.integers(0, 3)) == 0 else parts
    return ("{" + ",".join(order) + "}").encode()


def chunks(body: bytes, step: int) -> Iterator[bytes]:
    return (body[i : i + step] for i in range(0, len(body), step))


def plain(column: pa.ChunkedArray) -> list[Any]:
    """The column's values, as the reference gives them."""
    if pa.types.is_temporal(column.type):
        return column.cast(pa.int64()).to_pylist()
    values = column.to_pylist()
    if pa.types.is_decimal(column.type):
        with localcontext(prec=60):
            return [None if v is None else int(v * 10**18) for v in values]
    return values


def decoded(body: bytes, *, block: int, step: int) -> Any:
    """What `reference` gives, from decode."""
    with mock.patch.object(blocks, "_BLOCK", block):
        found = decode(chunks(body, step), max_bytes=LIMIT)
    named = [(c.name, c.kusto_type) for c in found.columns]
    table = found.table
    table.validate(full=True)
    lost = [None] * table.num_rows
    if "_rescued_data" in table.column_names:
        lost = table.column("_rescued_data").to_pylist()
        table = table.drop_columns(["_rescued_data"])
        assert any(lost)
    assert table.column_names == [n for n, _ in named]
    assert found.body_bytes == len(body)
    columns = [plain(c) for c in table.columns]
    return named, [list(row) for row in zip(*columns, strict=True)], lost


def same(body: bytes, *, block: int, step: int) -> bool:
    """Whether both accept the body, and then give the same; whether they accept it."""
    try:
        wanted = reference(body)
    except Wrong:
        with pytest.raises(ReplyUnreadable):
            decoded(body, block=block, step=step)
        return False
    assert repr(decoded(body, block=block, step=step)) == repr(wanted)
    return True


@QUICK
@given(
    body=bodies(),
    block=st.sampled_from([1, 60, 150, 400, 4 << 20]),
    step=st.sampled_from([1, 13, 100, 1 << 20]),
)
def test_equals_the_reference(body: bytes, block: int, step: int) -> None:
    same(body, block=block, step=step)


@QUICK
@given(body=bodies(), random=st.randoms(use_true_random=False), block=st.sampled_from([1, 60, 150, 4 << 20]))
def test_equals_the_reference_on_mutated_bodies(body: bytes, random: random.Random, block: int) -> None:
    mutated = bytearray(body)
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(mutated))
        mutated[at : at + random.randrange(4)] = random.choice(
            (
                b"",
                b'"',
                b"{",
                b"}",
                b",",
                b"\xff",
                b"0",
                b"\\",
                b"\x00",
                b" ",
                b'"A":',
                b"null",
                b"},{",
                bytes(mutated[at : at + 9]),
            )
        )
    same(bytes(mutated), block=block, step=50)
