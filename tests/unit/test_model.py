"""Ticks, spans and keys: the arithmetic that all other code uses."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.model import (
    DAY,
    HOUR,
    NULL_TIME,
    SECOND,
    Bin,
    Bucket,
    Grain,
    Histogram,
    Partition,
    Proof,
    Slice,
    TableSpec,
    Window,
    datetime_of,
    iso_of,
    ticks_of,
)
from hunting_pipeline.ticks import nanoseconds_of, ticks_of_nanoseconds

FIRST = ticks_of(date(1, 1, 1))
LAST = ticks_of(datetime.max.replace(tzinfo=UTC)) + 9
ticks = st.integers(FIRST, LAST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0001-01-01T00:00:00Z", FIRST),
        ("0999-12-31T23:59:59Z", ticks_of(date(1000, 1, 1)) - SECOND),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0000001Z", 1),
        ("2026-11-20T10:00:00.1234567Z", ticks_of(date(2026, 11, 20)) + 10 * HOUR + 1_234_567),
        ("2026-11-20T10:00:00.1000000Z", ticks_of(date(2026, 11, 20)) + 10 * HOUR + 1_000_000),
        ("9999-12-31T23:59:59.9999999Z", LAST),
    ],
)
def test_an_instant_has_four_digits_of_the_year_and_none_or_seven_of_the_fraction(
    text: str, expected: int
) -> None:
    assert iso_of(expected) == text


@given(ticks)
def test_every_instant_of_kusto_reads_back_from_its_text(instant: int) -> None:
    text = iso_of(instant)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{7})?Z", text)
    whole, _, fraction = text.removesuffix("Z").partition(".")
    assert ticks_of(datetime.fromisoformat(f"{whole}+00:00")) + int(fraction or 0) == instant


@given(ticks, ticks)
def test_texts_of_whole_seconds_sort_like_their_times(one: int, other: int) -> None:
    one, other = one // SECOND * SECOND, other // SECOND * SECOND
    assert (iso_of(one) < iso_of(other)) == (one < other)


@given(ticks)
def test_a_datetime_loses_less_than_a_microsecond(instant: int) -> None:
    moment = datetime_of(instant)
    assert moment.utcoffset() == timedelta(0)
    assert 0 <= instant - ticks_of(moment) < 10


@given(st.integers(FIRST + DAY, LAST - DAY), st.integers(-23, 23))
def test_a_datetime_of_any_zone_is_the_same_instant(instant: int, hours: int) -> None:
    moment, zone = datetime_of(instant), timezone(timedelta(hours=hours))
    assert ticks_of(moment.astimezone(zone)) == ticks_of(moment)
    assert ticks_of(moment.replace(tzinfo=zone)) == ticks_of(moment) - hours * HOUR


@given(ticks, st.integers(0, 99))
def test_every_nanosecond_lies_in_its_tick(instant: int, rest: int) -> None:
    assert ticks_of_nanoseconds(nanoseconds_of(instant) + rest) == instant


@given(st.lists(st.integers(-(9 * 10**16), 9 * 10**16)))
def test_arrays_are_converted_like_integers(instants_: list[int]) -> None:
    nanoseconds = nanoseconds_of(np.array(instants_, np.int64))
    assert nanoseconds.tolist() == [nanoseconds_of(instant) for instant in instants_]
    assert ticks_of_nanoseconds(nanoseconds + 99).tolist() == instants_


def test_the_null_time_is_the_first_tick_of_kusto() -> None:
    partition = Partition("T", NULL_TIME)
    assert (iso_of(NULL_TIME.start), NULL_TIME.ticks) == ("0001-01-01T00:00:00Z", 1)
    assert (partition.key, partition.null_time) == ("null_time", True)


def test_a_datetime_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        ticks_of(datetime(2026, 11, 20))  # noqa: DTZ001 - what is to be refused


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5)])
def test_a_window_is_never_empty_or_backwards(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="must end after it starts"):
        Window(start, end)


small = st.integers(0, 20)
windows = st.tuples(small, small).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: Window(*pair))


def instants(window: Window | None) -> set[int]:
    return set(range(window.start, window.end)) if window else set()


@given(windows, windows)
def test_windows_behave_as_sets_of_instants(one: Window, other: Window) -> None:
    assert instants(one.intersection(other)) == instants(one) & instants(other)
    assert one.contains(other) == (instants(one) >= instants(other))
    assert one.ticks == len(instants(one))


def test_a_window_shows_both_its_ends() -> None:
    assert str(Window(0, 15_000_000)) == "1970-01-01T00:00:00Z … 1970-01-01T00:00:01.5000000Z"


@pytest.mark.parametrize(
    ("year", "expected"), [(7, "0007-03-01"), (2026, "2026-03-01"), (9998, "9998-03-01")]
)
def test_the_key_of_a_partition_is_its_day_or_hour(year: int, expected: str) -> None:
    start = ticks_of(date(year, 3, 1))
    assert Partition("T", Window(start, start + DAY)).key == expected
    hour = Partition("T", Window(start + 5 * HOUR, start + 6 * HOUR))
    assert (hour.key, str(hour)) == (f"{expected}T05", f"T {expected}T05")


def test_each_grain_has_its_length() -> None:
    assert (Grain.DAY.ticks, Grain.HOUR.ticks) == (DAY, HOUR)


@pytest.mark.parametrize(
    "other",
    [
        TableSpec("T", "TimeGenerated"),
        TableSpec("T", "Timestamp", columns=("A",)),
        TableSpec("T", "Timestamp", where="A == 1"),
    ],
)
def test_time_column_columns_and_predicate_change_the_query_hash(other: TableSpec) -> None:
    assert other.query_hash != TableSpec("T", "Timestamp").query_hash


def test_the_form_of_storage_does_not_change_the_query_hash() -> None:
    stored = TableSpec("T", "Timestamp", grain=Grain.HOUR, bytes_per_row=9, service="S", evolve=False)
    assert stored.query_hash == TableSpec("T", "Timestamp").query_hash


proofs = st.builds(Proof, st.integers(0, 10**9), st.integers(0, 10**18))


@given(st.lists(proofs, max_size=5).flatmap(lambda parts: st.tuples(st.just(parts), st.permutations(parts))))
def test_proofs_add_up_in_any_order(drawn: tuple[list[Proof], list[Proof]]) -> None:
    parts, shuffled = drawn
    total = sum(shuffled, Proof(0, 0))
    assert total == sum(parts, Proof(0, 0))
    assert total.rows == sum(part.rows for part in parts)


def test_a_histogram_counts_its_rows() -> None:
    bins = (Bin(Window(0, 1), Proof(3, 30)), Bin(Window(5, 6), Proof(4, 40)))
    assert Histogram((Window(0, 10),), 1, bins).rows == 7


def test_a_slice_names_table_span_bucket_and_rows() -> None:
    slice_ = Slice("T", Window(0, SECOND), Proof(3, 0), bucket=Bucket(2, 16))
    assert str(slice_) == "T 1970-01-01T00:00:00Z … 1970-01-01T00:00:01Z bucket 2/16 (3 rows)"
    assert str(Slice("T", None, Proof(0, 0))) == "T snapshot (0 rows)"
    assert slice_.recounted(Proof(5, 1)) == Slice("T", Window(0, SECOND), Proof(5, 1), bucket=Bucket(2, 16))
