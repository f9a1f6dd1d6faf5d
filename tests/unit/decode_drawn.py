"""Hypothesis strategies for bodies of replies, shared by the tests of decoding and the fuzz target."""

import functools
import json

from decode_reference import KUSTO, string
from hypothesis import strategies as st

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


@functools.cache
def json_texts(graph: bool) -> st.SearchStrategy[str]:
    """Generate JSON texts of dynamic values; for Graph with annotations."""
    leaves = st.one_of(
        st.sampled_from(["null", "true", "false", "{}", "[]"]),
        integers,
        numbers,
        times.map(string),
        texts.map(string),
    )
    annotation = '"@odata.type":"#microsoft.graph.security.dynamicColumnValue"'

    def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pairs = st.lists(
            st.tuples(st.one_of(st.sampled_from(["A", "B", "x"]), texts).map(string), inner), max_size=3
        )
        written = pairs.map(lambda p: [f"{k}:{v}" for k, v in p])
        objects = written.map(lambda p: "{" + ",".join(p) + "}")
        arrays = st.lists(inner, max_size=3).map(lambda v: "[" + ",".join(v) + "]")
        if not graph:
            return st.one_of(objects, arrays)
        annotated = written.map(lambda p: "{" + ",".join([annotation, *p]) + "}")
        wrapped = st.lists(annotated, max_size=3).map(lambda v: "[" + ",".join(map(string, v)) + "]")
        return st.one_of(objects, arrays, annotated, wrapped)

    return st.recursive(leaves, nested, max_leaves=6)


@functools.cache
def fitting(wire: str, graph: bool) -> st.SearchStrategy[str]:
    """Generate JSON texts of values that fit a column of this wire type."""
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


@functools.cache
def annotations(name: str, wire: str) -> st.SearchStrategy[str]:
    """Generate OData annotations: usually a column's type, seldom with escapes, null or without a column."""
    keys = st.sampled_from([name] * 6 + ["", "X", name + "\\"]).map(lambda n: string(n + "@odata.type"))
    escaped = st.sampled_from(["@", "e"]).map(
        lambda c: f"\\u{ord(c):04x}".join(string(name + "@odata.type").rsplit(c, 1))
    )
    values = st.sampled_from([f'"#{wire}"'] * 6 + ["null", "{}", '""', "1"])
    return st.builds("{}:{}".format, st.one_of(keys, keys, keys, escaped), values)


@st.composite
def rows_of(draw: st.DrawFn, names: list[str], wires: list[str], *, graph: bool) -> list[str]:
    """Generate rows, for Graph with annotations from some row on; seldom with misfits or a missing key."""
    odd = draw(st.sampled_from([0, 0, 0, 5]))
    lacking = draw(st.sampled_from([0, 0, 0, 6]))
    count = draw(st.integers(0, 12))
    plain = draw(st.integers(0, count)) if graph else count
    rows = []
    for n in range(count):
        annotated_row = graph and n >= plain
        pairs = []
        for name, wire in zip(names, wires, strict=True):
            if annotated_row and draw(st.booleans()):
                pairs.append(draw(annotations(name, wire)))
            value = anything if odd and draw(st.integers(0, odd)) == 0 else fitting(wire, annotated_row)
            if not lacking or draw(st.integers(0, lacking)):
                pairs.append(f"{string(name)}:{draw(value)}")
        rows.append("{" + ",".join(pairs) + "}")
    return rows


NAMES = ["A", "B", "C", "D_2", "A1", "é", "a b", 'q"', "z\\"]
"""Two names end in a digit, one is the beginning of another, the last ones need escapes."""


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Generate bodies of replies in both envelopes, mostly valid."""
    graph = draw(st.booleans())
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    wires = [draw(st.sampled_from([*KUSTO, "Geography"])) for _ in names]
    rows = draw(rows_of(names, wires, graph=graph))
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


SHARDS = [
    *(b"", b'"', b"{", b"}", b",", b"\xff", b"0", b"\\", b"\x00", b" ", b'"A":', b"null", b"},{"),
    *(b'":{}', b'":null', b'"A@odata.type":', b'"A@odata.type":null,', b'"X@odata.type":"x",', b"\\u0041"),
]


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Overwrite one or two parts of a body, with a shard or with its own bytes."""
    body = bytearray(draw(whole))
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        at = draw(st.integers(0, len(body)))
        shard = draw(st.sampled_from([*SHARDS, bytes(body[at : at + 9])]))
        body[at : at + draw(st.integers(0, 3))] = shard
    return bytes(body)
