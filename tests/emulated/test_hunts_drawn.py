"""Random queries: an accepted query returns the same rows with its bounds and without them."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hunting_emulator.kql.compiler import compile_query
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.tenant import Tenant, TenantOptions
from hunting_pipeline.kql import queries
from hunting_pipeline.kql.hunts import read_hunt
from hunting_pipeline.kql.reading import Unsliceable
from hunting_pipeline.model import DAY, HOUR, Proof, Slice, TableSpec, Window, ticks_of

FIRST = datetime(2026, 11, 18, tzinfo=UTC)
START = ticks_of(FIRST)
COLUMNS = {"A": {"Timestamp", "K", "X"}, "B": {"Timestamp", "K", "Y"}, "C": {"K", "Z"}}

SOURCES = (
    "A",
    "B",
    "C",
    "(A | where K != 'k1')",
    "union A, B",
    "union kind=outer (A | where X > 3), (B | extend Y = Y * 2), A",
    "union A, C",
    "lone",
    "twice",
)
LETS = """let lone = A | where X > 2;
let twice = materialize(B | extend W = Y + 1);
let s = 6h;
let at = datetime(2026-11-19);
"""
STEPS = ("15m", "1h", "s", "1d")
KINDS = ("inner", "leftouter", "leftsemi", "leftanti", "rightouter", "fullouter")
LEGS = ("A", "(B | where Y > 2)", "C", "twice", "(A | summarize N = count() by K)",
        "(B | summarize Timestamp = max(Timestamp) by K)", "(A | project K, X)")  # fmt: skip
OPERATORS = st.one_of(
    st.sampled_from((
        "where K != 'k2'", "where K in ((C | where Z > 1 | project K))", "where K in (lone)", "sort by K",
        "extend V = strcat(K, '!')", "extend Timestamp = Timestamp + 1h", "extend T = Timestamp",
        "extend Timestamp = bin(Timestamp, 1h)", "extend Timestamp = startofday(Timestamp)",
        "extend T = bin(Timestamp, 15m)", "extend ['Timestamp'] = Timestamp - 2h", "extend Timestamp = at",
        "project Timestamp, K", "project K, Timestamp = T", "project-away K", "project-rename Timestamp = T",
        "project-rename T = Timestamp", "project-keep Timestamp, K", "distinct Timestamp, K", "distinct *",
        "union B", "union (A | project Timestamp, K)", "union C", "summarize N = count() by Timestamp, K",
        "summarize Timestamp = max(Timestamp) by K", "summarize arg_max(Timestamp, *) by K",
        "mv-expand E = dynamic([1, 2])", "where Timestamp > datetime(2026-11-18T09:00:00Z)", "lookup C on K",
    )),
    st.sampled_from(("extend M = toscalar(lone | count)", "extend M = toscalar(twice | count)")),
    st.builds("summarize N = count() by K, bin(Timestamp, {})".format, st.sampled_from(STEPS)),
    st.builds("summarize N = count() by Timestamp = bin(Timestamp, {})".format, st.sampled_from(STEPS)),
    st.builds("join kind={} {} on K".format, st.sampled_from(KINDS), st.sampled_from(LEGS)),
)  # fmt: skip
MOMENTS = st.integers(-2, 3 * 24 * 4).map(lambda quarter: START + quarter * HOUR // 4)


def a_table(rows: int, letter: str, shift: int) -> pa.Table:
    at = [FIRST + timedelta(minutes=(17 * i * shift) % (3 * 1440), microseconds=i % 3) for i in range(rows)]
    return pa.table({
        "Timestamp": pa.array(at, pa.timestamp("us", "UTC")),
        "K": [f"k{i * shift % 5}" for i in range(rows)],
        letter: pa.array([i % 7 for i in range(rows)], pa.int64()),
    })  # fmt: skip


@pytest.fixture(scope="module")
def tenant() -> Iterator[Tenant]:
    made = Tenant(TenantOptions(now=ticks_of(FIRST) + 621_355_968_000_000_000 + 10 * DAY))
    made.load("A", a_table(40, "X", 3))
    made.load("B", a_table(30, "Y", 7))
    made.load("C", pa.table({"K": ["k1", "k2", "k3"], "Z": pa.array([1, 2, 3], pa.int64())}))
    yield made
    made.close()


def answered(tenant: Tenant, text: str) -> tuple[list[str], Counter[tuple[object, ...]]]:
    cursor = tenant.cursor()
    try:
        compiled = compile_query(text, tenant.catalogue(cursor))
        refs = ", ".join(column.ref for column in compiled.columns)
        rows = cursor.sql(f"SELECT {refs} FROM ({compiled.sql})").fetchall()
    finally:
        cursor.close()
    return [column.name for column in compiled.columns], Counter(rows)


def a_slice(window: Window) -> Slice:
    return Slice("hunt-drawn", window, Proof(0, 0))


seen: Counter[str] = Counter()


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SOURCES), st.lists(OPERATORS, max_size=4), MOMENTS, st.integers(1, 200))
def test_bounds_change_no_row(
    tenant: Tenant, source: str, operators: list[str], start: int, quarters: int
) -> None:
    text = LETS + "\n| ".join([source, *operators])
    try:
        hunt = read_hunt(text, "Timestamp", COLUMNS.get, settled=True)
    except Unsliceable:
        seen["refused"] += 1
        return
    try:
        names, whole = answered(tenant, text)
    except (KqlError, duckdb.Error):  # not a valid query: a column is missing
        assume(False)
    window = Window(start, start + quarters * HOUR // 4)
    asked = queries.rows_query(TableSpec("hunt-drawn", "Timestamp", hunt=hunt), a_slice(window))
    if "Timestamp" not in names:  # the text does not show it, so the service must refuse it
        with pytest.raises(KqlError, match="Timestamp"):
            answered(tenant, asked)
        return
    _, sliced = answered(tenant, asked)
    at = names.index("Timestamp")
    low, high = window.start + 621_355_968_000_000_000, window.end + 621_355_968_000_000_000
    inside = {row: count for row, count in whole.items() if row[at] is not None and low <= row[at] < high}
    seen["accepted"] += 1
    seen["pushed"] += not hunt.read_whole
    assert sliced == inside
    assert all(row[at] is None or (row[at] % hunt.step == 0) for row in whole)


def test_enough_queries_were_drawn() -> None:
    """Enough queries were accepted and refused to make the comparison meaningful."""
    assert seen["accepted"] > 40
    assert seen["pushed"] > 20
    assert seen["refused"] > 20
