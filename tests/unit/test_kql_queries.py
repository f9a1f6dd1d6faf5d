"""Queries are exact text, and their replies are read back. A contradictory reply is never read as a count."""

import random
import re
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.errors import Misconfigured, ReplyUnreadable
from hunting_pipeline.kql import queries
from hunting_pipeline.kql.literals import (
    datetime_literal,
    name,
    predicate,
    string_literal,
    timespan_literal,
    within,
)
from hunting_pipeline.model import (
    DAY,
    HOUR,
    SECOND,
    Bin,
    Bucket,
    Histogram,
    Proof,
    Slice,
    TableSpec,
    Window,
    ticks_of,
)
from hunting_pipeline.reply import Reply

START = ticks_of(datetime(2026, 11, 20, tzinfo=UTC))
EVENTS = TableSpec("DeviceEvents", "Timestamp")
SNAPSHOT = TableSpec("DeviceTvmSoftwareInventory", None)
CHECKSUM = "Checksum = sum(tolong(Timestamp) % 1000000007)"
MOMENTS = st.integers(ticks_of(datetime(1900, 1, 1, tzinfo=UTC)), ticks_of(datetime(2200, 1, 1, tzinfo=UTC)))


def a_slice(spec: TableSpec, *, start: int = START, end: int = START + HOUR, of: int = 0) -> Slice:
    window = Window(start, end) if spec.time_column else None
    return Slice(spec.name, window, Proof(0, 0), bucket=Bucket(3, of) if of else None)


def reply(**columns: object) -> Reply:
    return Reply((), pa.table(columns), {}, 0)


def ints(*values: int | None) -> pa.Array:
    return pa.array(values, pa.int64())


def moments(*ticks: int | None) -> pa.Array:
    return pa.array([None if tick is None else tick * 100 for tick in ticks], pa.timestamp("ns", "UTC"))


# literals


def unescape(literal: str) -> str:
    """Read a double-quoted literal as KQL does, independent of the writer."""
    assert re.fullmatch(r'"(?:[^"\\\r\n]|\\.)*"', literal)
    plain = {"n": "\n", "r": "\r", "t": "\t"}
    return re.sub(
        r"\\(?:u([0-9a-f]{4})|(.))",
        lambda m: chr(int(m[1], 16)) if m[1] else plain.get(m[2], m[2]),
        literal[1:-1],
    )


@given(st.text())
def test_a_string_literal_stands_for_its_text_on_one_line(text: str) -> None:
    literal = string_literal(text)
    assert unescape(literal) == text
    assert len(literal.splitlines()) == 1


@given(st.text())
def test_a_string_literal_never_ends_a_predicate_early(text: str) -> None:
    condition = f"FileName == {string_literal(text)}"
    assert predicate(condition) == condition


@given(MOMENTS)
def test_a_datetime_literal_is_exact_to_the_tick(ticks: int) -> None:
    shape = r"datetime\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{7}))?Z\)"
    found = re.fullmatch(shape, datetime_literal(ticks))
    assert found
    assert ticks_of(datetime.fromisoformat(f"{found[1]}+00:00")) + int(found[2] or 0) == ticks


@pytest.mark.parametrize(
    ("ticks", "literal"),
    [
        (1, "time(00:00:00.0000001)"),
        (SECOND + 1, "time(00:00:01.0000001)"),
        (DAY + 61 * SECOND + 5, "time(1.00:01:01.0000005)"),
        (SECOND // 1000, "1ms"),
        (SECOND, "1s"),
        (90 * SECOND, "90s"),
        (15 * 60 * SECOND, "15m"),
        (HOUR, "1h"),
        (DAY, "1d"),
    ],
)
def test_a_step_is_written_as_a_timespan(ticks: int, literal: str) -> None:
    assert timespan_literal(ticks) == literal


@given(st.integers(1, 40 * DAY))
def test_a_step_is_exact(ticks: int) -> None:
    literal = timespan_literal(ticks)
    units = {"d": DAY, "h": HOUR, "m": 60 * SECOND, "s": SECOND, "ms": SECOND // 1000}
    if found := re.fullmatch(r"(\d+)([a-z]+)", literal):
        assert int(found[1]) * units[found[2]] == ticks
    else:
        found = re.fullmatch(r"time\((?:(\d+)\.)?(\d\d):(\d\d):(\d\d)\.(\d{7})\)", literal)
        assert found
        days, hours, minutes, seconds, fraction = (int(group or 0) for group in found.groups())
        assert days * DAY + hours * HOUR + minutes * 60 * SECOND + seconds * SECOND + fraction == ticks


def test_a_step_of_zero_is_an_error() -> None:
    with pytest.raises(ValueError, match="positive"):
        timespan_literal(0)


@pytest.mark.parametrize("text", ["", "1A", "A B", "A\n", "A;B", "A-B", "Ä", "A|x", "['A']", "A.B"])
def test_names_are_allowed_by_list(text: str) -> None:
    with pytest.raises(Misconfigured, match="not a valid name"):
        name(text)


@given(MOMENTS, st.integers(1, 90 * DAY))
def test_bounds_are_half_open(start: int, ticks: int) -> None:
    end = start + ticks
    assert within("Timestamp", Window(start, end)) == (
        f"Timestamp >= {datetime_literal(start)} and Timestamp < {datetime_literal(end)}"
    )


# predicates


@pytest.mark.parametrize(
    "text",
    [
        'ActionType == "FileCreated"',
        'FileName has "a|b;c" or FileName == \'d"e\'',
        '@"C:\\" == FolderPath and h"secret;" != X',
        "FolderPath startswith @'it''s | here'",
        "A == ```many\nlines | ; ```",
        'A == "x" // a | comment; with ) all of it',
        "A == 1 // first\n and B == 2",
        "DeviceId in ((DeviceInfo | where OnboardingStatus == 'Onboarded' | project DeviceId))",
        'A == "\\"|"',
        "X has_any (dynamic(['a', 'b']))",
        "X matches regex @'a|b' and Y !~ 'z'",
    ],
)
def test_predicates_that_stay_within_their_clause_are_accepted(text: str) -> None:
    assert predicate(f"  {text}\n") == text


@pytest.mark.parametrize(
    "text",
    [
        "   ",
        "// only a comment",
        "A == 1; DeviceInfo",
        "A == 1 | take 1",
        "| where A == 1",
        "A == 1)",
        "(A == 1",
        "A == 1) or (B == 2",
        "f([1)]",
        'A == "open',
        "A == 'open",
        'A == "two\nlines"',
        'A == "x\\"',
        "A == '''|'''| take 1",
        'A == @"x\\"" | take 1',
        "A in (B; C)",
        '// quote " in a comment\n; take 1',
    ],
)
def test_predicates_that_would_leave_their_clause_are_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="predicate"):
        predicate(text)


@given(st.text(alphabet="aA1 \"'\\@`~()[]{}|;/\n\r=hH", max_size=30))
def test_no_accepted_predicate_ends_in_an_open_quote_or_pipes(text: str) -> None:
    try:
        accepted = predicate(text)
    except Misconfigured:
        return
    # appended text keeps its meaning: a second predicate after a line break is still judged by itself
    with pytest.raises(Misconfigured, match="predicate"):
        predicate(f"{accepted}\n| take 1")
    with pytest.raises(Misconfigured, match="predicate"):
        predicate(f"{accepted}\n; take 1")


# builders


def test_the_rows_of_a_slice() -> None:
    spec = TableSpec("DeviceEvents", "Timestamp", columns=("Timestamp", "DeviceId"), where="A == 1 // why")
    assert queries.rows_query(spec, a_slice(spec, end=START + 1, of=8)) == (
        "DeviceEvents\n"
        "| where Timestamp >= datetime(2026-11-20T00:00:00Z)"
        " and Timestamp < datetime(2026-11-20T00:00:00.0000001Z)\n"
        "| where A == 1 // why\n"
        "| where hash(tostring(pack_all()), 8) == 3\n"
        "| project Timestamp, DeviceId"
    )  # fmt: skip
    assert queries.rows_query(SNAPSHOT, a_slice(SNAPSHOT)) == "DeviceTvmSoftwareInventory"


def test_a_proof_and_its_buckets() -> None:
    where = "DeviceEvents\n| where Timestamp >= datetime(2026-11-20T00:00:00Z) and Timestamp < datetime(2026-11-20T01:00:00Z)"  # noqa: E501 - as sent
    assert queries.proof_query(EVENTS, a_slice(EVENTS)) == f"{where}\n| summarize Rows = count(), {CHECKSUM}"
    assert queries.proof_query(SNAPSHOT, a_slice(SNAPSHOT)) == (
        "DeviceTvmSoftwareInventory\n| summarize Rows = count()"
    )
    assert queries.buckets_query(EVENTS, a_slice(EVENTS), 4) == (
        f"{where}\n| summarize Rows = count(), {CHECKSUM} by Bucket = hash(tostring(pack_all()), 4)"
    )
    assert queries.buckets_query(SNAPSHOT, a_slice(SNAPSHOT), 4) == (
        "DeviceTvmSoftwareInventory\n| summarize Rows = count() by Bucket = hash(tostring(pack_all()), 4)"
    )


def test_a_histogram_of_one_window_and_of_several() -> None:
    one, two = Window(START, START + HOUR), Window(START + 2 * HOUR, START + 3 * HOUR)
    spec = TableSpec("DeviceEvents", "Timestamp", where="A == 1 or B == 2")
    first = "(Timestamp >= datetime(2026-11-20T00:00:00Z) and Timestamp < datetime(2026-11-20T01:00:00Z))"
    second = "(Timestamp >= datetime(2026-11-20T02:00:00Z) and Timestamp < datetime(2026-11-20T03:00:00Z))"
    assert queries.histogram_query(spec, [one], 15 * 60 * SECOND) == (
        f"DeviceEvents\n| where {first}\n| where A == 1 or B == 2\n"
        f"| summarize Rows = count(), {CHECKSUM} by Bin = bin(Timestamp, 15m)"
    )
    assert queries.histogram_query(EVENTS, [one, two], HOUR) == (
        f"DeviceEvents\n| where {first} or {second}\n"
        f"| summarize Rows = count(), {CHECKSUM} by "
        "Span = case(Timestamp < datetime(2026-11-20T01:00:00Z), 0, 1), Bin = bin(Timestamp, 1h)"
    )


def test_a_query_for_the_schema() -> None:
    assert queries.schema_query(EVENTS) == "DeviceEvents\n| take 0"


def test_impossible_queries_are_refused() -> None:
    window = Window(START, START + HOUR)
    with pytest.raises(Misconfigured, match="no time column"):
        queries.histogram_query(SNAPSHOT, [window], HOUR)
    with pytest.raises(Misconfigured, match="no time column"):
        queries.rows_query(SNAPSHOT, Slice(SNAPSHOT.name, window, Proof(0, 0)))
    for spec in (
        TableSpec("Device Events", "Timestamp"),
        TableSpec("DeviceEvents", "Time stamp"),
        TableSpec("DeviceEvents", "Timestamp", columns=("A", "B, C")),
        TableSpec("DeviceEvents", "Timestamp", where="A == 1 | take 5"),
        TableSpec("DeviceEvents", "Timestamp", where=" "),
    ):
        with pytest.raises(Misconfigured):
            queries.rows_query(spec, a_slice(spec))
    for windows in ([], [window, window], [Window(START + HOUR, START + DAY), window]):
        with pytest.raises(ValueError, match="ascending"):
            queries.histogram_query(EVENTS, windows, HOUR)


# readers


def test_a_proof_is_read() -> None:
    assert queries.read_proof(reply(Rows=ints(5), Checksum=ints(77))) == Proof(5, 77)
    assert queries.read_proof(reply(Rows=ints(0), Checksum=ints(None))) == Proof(0, 0)
    assert queries.read_proof(reply(Rows=pa.array([5], pa.int32()))) == Proof(5, 0)


@pytest.mark.parametrize(
    "columns",
    [
        {"Rows": ints()},
        {"Rows": ints(1, 2)},
        {"Rows": ints(None)},
        {"Rows": ints(-1)},
        {"Rows": pa.array([1.0])},
        {"Rows": pa.array(["1"])},
        {"Count": ints(1)},
        {"Rows": ints(5), "Checksum": ints(None)},
        {"Rows": ints(5), "Checksum": ints(-1)},
        {"Rows": ints(5), "Checksum": pa.array(["77"])},
    ],
)
def test_a_proof_that_contradicts_itself_is_not_read(columns: dict[str, pa.Array]) -> None:
    with pytest.raises(ReplyUnreadable):
        queries.read_proof(reply(**columns))


def test_buckets_are_read_in_their_order_with_zeros_where_absent() -> None:
    found = queries.read_buckets(reply(Rows=ints(2, 5), Checksum=ints(20, 50), Bucket=ints(3, 0)), 4)
    assert found == (Proof(5, 50), Proof(0, 0), Proof(0, 0), Proof(2, 20))
    assert queries.read_buckets(reply(Rows=ints(), Bucket=ints()), 2) == (Proof(0, 0), Proof(0, 0))


@pytest.mark.parametrize("buckets", [ints(4), ints(-1), ints(None), ints(1, 1), pa.array(["1"])])
def test_impossible_buckets_are_not_read(buckets: pa.Array) -> None:
    with pytest.raises(ReplyUnreadable):
        queries.read_buckets(reply(Rows=ints(*[1] * len(buckets)), Bucket=buckets), 4)
    with pytest.raises(ReplyUnreadable):
        queries.read_buckets(reply(Rows=ints(1)), 4)


def test_bins_are_cut_to_their_window() -> None:
    windows = [Window(START + HOUR // 4, START + HOUR // 2), Window(START + HOUR // 2, START + 2 * HOUR - 1)]
    answer = reply(
        Rows=ints(1, 2, 3),
        Checksum=ints(10, 20, 30),
        Span=ints(1, 1, 0),
        Bin=moments(START + HOUR, START, START),
    )
    assert queries.read_histogram(answer, windows, HOUR) == Histogram(
        tuple(windows),
        HOUR,
        (
            Bin(windows[0], Proof(3, 30)),
            Bin(Window(START + HOUR // 2, START + HOUR), Proof(2, 20)),
            Bin(Window(START + HOUR, START + 2 * HOUR - 1), Proof(1, 10)),
        ),
    )


@given(
    step=st.sampled_from([1, 7, SECOND, 15 * 60 * SECOND, HOUR, DAY]),
    cuts=st.lists(st.integers(0, 3 * DAY), min_size=2, max_size=8, unique=True),
    offsets=st.lists(st.integers(0, 3 * DAY), max_size=60),
    seed=st.integers(),
)
def test_a_histogram_read_back_counts_every_row_in_its_own_bin(
    step: int, cuts: list[int], offsets: list[int], seed: int
) -> None:
    edges = [START + cut for cut in sorted(cuts)]
    windows = [Window(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    times = [START + offset for offset in offsets]
    times = [time for time in times if any(w.start <= time < w.end for w in windows)]
    origin = 719_162 * DAY  # as Kusto does it: aligned to year 1, grouped by span and bin
    keys = [
        (next(n for n, w in enumerate(windows) if time < w.end), (time + origin) // step * step - origin)
        for time in times
    ]
    groups = sorted(set(keys), key=lambda _: random.Random(seed).random())
    answer = reply(
        Rows=ints(*[keys.count(group) for group in groups]),
        Checksum=ints(*[sum(t % 997 for t, k in zip(times, keys, strict=True) if k == g) for g in groups]),
        Span=ints(*[span for span, _ in groups]),
        Bin=moments(*[start for _, start in groups]),
    )
    found = queries.read_histogram(answer, windows, step)
    assert found.rows == len(times)
    assert list(found.bins) == sorted(found.bins, key=lambda b: b.window)
    for b in found.bins:
        mine = [time for time in times if b.window.start <= time < b.window.end]
        assert b.proof == Proof(len(mine), sum(time % 997 for time in mine))
        assert any(window.contains(b.window) for window in windows)


HOURS = [Window(START, START + HOUR), Window(START + HOUR, START + 2 * HOUR)]


@pytest.mark.parametrize(
    "columns",
    [
        {"Bin": moments(START)},
        {"Span": ints(0)},
        {"Span": ints(0), "Bin": ints(START)},
        {"Span": ints(0), "Bin": moments(None)},
        {"Span": ints(None), "Bin": moments(START)},
        {"Span": ints(2), "Bin": moments(START)},
        {"Span": ints(-1), "Bin": moments(START)},
        {"Span": ints(0), "Bin": moments(START + HOUR)},
        {"Span": ints(1), "Bin": moments(START)},
        {"Span": ints(0, 0), "Bin": moments(START, START)},
        {"Span": ints(0, 0), "Bin": moments(START, START + HOUR // 2)},
        {"Span": ints(0), "Bin": moments(START), "Rows": ints(-1)},
        {"Span": ints(0), "Bin": moments(START), "Rows": pa.array([0.5])},
    ],
)
def test_a_histogram_that_contradicts_itself_is_not_read(columns: dict[str, pa.Array]) -> None:
    length = max(len(column) for column in columns.values())
    with pytest.raises(ReplyUnreadable):
        queries.read_histogram(reply(**({"Rows": ints(*[1] * length)} | columns)), HOURS, HOUR)


def test_an_empty_histogram_and_one_window_without_spans() -> None:
    assert queries.read_histogram(reply(Rows=ints(), Bin=moments()), HOURS[:1], HOUR).bins == ()
    answer = reply(Rows=ints(4, 0), Checksum=ints(9, None), Bin=moments(START, START + HOUR // 2))
    assert queries.read_histogram(answer, HOURS[:1], HOUR // 2).bins == (
        Bin(Window(START, START + HOUR // 2), Proof(4, 9)),
    )
