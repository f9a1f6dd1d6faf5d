"""Missing spans: nothing twice, nothing left out, nothing before the retention limit."""

import itertools
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.model import DAY, HOUR, SECOND, Grain, Partition, TableSpec, Window, subtract, ticks_of
from hunting_pipeline.window import (
    SETTLING,
    available,
    backlog_of,
    partition_of,
    partitions_in,
    snapshot_backlog,
)

DAILY = TableSpec("T", "Timestamp")
HOURLY = TableSpec("T", "Timestamp", grain=Grain.HOUR)
SNAPSHOT = TableSpec("S", None)
MIDNIGHT = ticks_of(date(2026, 11, 20))
MINUTE = 60 * SECOND


def spans(low: int, high: int) -> st.SearchStrategy[Window]:
    """Draw windows between small integers. Many of them have an edge in common."""
    return st.tuples(st.integers(low, high), st.integers(low, high)).filter(lambda p: p[0] < p[1]).map(
        lambda p: Window(*p)
    )  # fmt: skip


def instants(windows: object) -> set[int]:
    return {instant for window in windows for instant in range(window.start, window.end)}  # type: ignore[attr-defined]


@given(spans(0, 30), st.lists(spans(-5, 35), max_size=6))
def test_subtraction_leaves_the_rest_of_a_window(window: Window, taken: list[Window]) -> None:
    left = subtract(window, taken)
    assert instants(left) == instants([window]) - instants(taken)
    assert sum(part.ticks for part in left) == len(instants(left)), "parts overlap"
    assert list(left) == sorted(left)
    assert all(one.end < other.start for one, other in itertools.pairwise(left)), "parts touch"


@given(st.integers(0, 100 * DAY), st.integers(1, 60))
def test_the_available_window_is_settled_and_clear_of_the_edge(offset: int, days: int) -> None:
    now = MIDNIGHT + offset
    span = available(now, days)
    assert span.end <= now - SETTLING < span.end + MINUTE
    assert now - days * DAY + 10 * MINUTE < span.start <= now - days * DAY + 11 * MINUTE
    assert span.start % MINUTE == span.end % MINUTE == 0


@given(st.sampled_from([DAILY, HOURLY, SNAPSHOT]), st.integers(-(10**6) * DAY // 2, 10**6 * DAY))
def test_an_instant_lies_in_its_partition(spec: TableSpec, instant: int) -> None:
    window = partition_of(spec, instant).window
    assert window.start <= instant < window.end
    assert window.ticks == (HOUR if spec is HOURLY else DAY)
    assert window.start % window.ticks == 0


@given(st.sampled_from([DAILY, HOURLY]), st.integers(-5 * HOUR, 5 * HOUR), st.integers(1, 4 * DAY))
def test_partitions_tile_the_requested_window(spec: TableSpec, start: int, length: int) -> None:
    asked = Window(MIDNIGHT + start, MIDNIGHT + start + length)
    found = partitions_in(spec, asked)
    assert all(partition.window.intersection(asked) for partition in found)
    assert found[0].window.start <= asked.start
    assert asked.end <= found[-1].window.end
    assert all(a.window.end == b.window.start for a, b in itertools.pairwise(found))


def test_the_end_of_the_requested_window_is_exclusive() -> None:
    assert len(partitions_in(DAILY, Window(MIDNIGHT, MIDNIGHT + DAY))) == 1
    assert len(partitions_in(DAILY, Window(MIDNIGHT, MIDNIGHT + DAY + 1))) == 2


LENGTH = 10
"""Ticks of a partition in the random cases. `backlog_of` takes any length."""

partitions = st.sets(st.integers(0, 5), max_size=6).map(
    lambda numbers: [Partition("T", Window(n * LENGTH, (n + 1) * LENGTH)) for n in numbers]
)


@given(partitions, st.data())
def test_missing_covered_and_lost_spans_together_are_the_requested_ones(
    asked: list[Partition], data: st.DataObject
) -> None:
    """None of them overlaps another. Every missing span is settled and not forgotten."""
    covered = {
        partition: data.draw(st.lists(spans(partition.window.start, partition.window.end), max_size=3))
        for partition in asked
        if data.draw(st.booleans())
    }
    available_ = data.draw(spans(-10, 70))
    backlog = backlog_of(asked, covered, available=available_)

    settled = instants([p.window for p in asked]) & set(range(-100, available_.end))
    have = instants([span for taken in covered.values() for span in taken]) & settled
    to_fetch = instants([span for _, span in backlog.missing])
    lost = {instant for instant in settled - have if instant < available_.start}
    assert have | to_fetch | lost == settled
    assert not have & to_fetch
    assert not to_fetch & lost
    assert to_fetch <= instants([available_])
    assert sum(span.ticks for _, span in backlog.missing) == len(to_fetch)
    assert all(partition.window.contains(span) for partition, span in backlog.missing)


@given(partitions, st.data())
def test_every_partition_is_in_one_list_and_the_oldest_goes_first(
    asked: list[Partition], data: st.DataObject
) -> None:
    covered = {p: [p.window] for p in asked if data.draw(st.booleans())}
    available_ = data.draw(spans(-10, 70))
    backlog = backlog_of(asked, covered, available=available_)
    lists = [
        list(dict.fromkeys(p for p, _ in backlog.missing)),
        backlog.covered,
        backlog.forgotten,
        backlog.future,
    ]
    assert sorted(p for found in lists for p in found) == sorted(asked)
    assert all(list(found) == sorted(found) for found in lists)
    assert all(p.window.end <= available_.start and p not in covered for p in backlog.forgotten)
    assert all(p.window.start >= available_.end for p in backlog.future)


def at(number: int) -> Partition:
    return Partition("T", Window(number * LENGTH, (number + 1) * LENGTH))


def test_a_partition_across_the_edge_is_missing_in_part_and_not_forgotten() -> None:
    backlog = backlog_of([at(0)], {}, available=Window(4, 30))
    assert backlog.missing == ((at(0), Window(4, 10)),)
    assert backlog.forgotten == ()


def test_an_archived_partition_that_lacks_only_forgotten_time_is_covered() -> None:
    backlog = backlog_of([at(0)], {at(0): [Window(4, 10)]}, available=Window(20, 30))
    assert (backlog.missing, backlog.covered, backlog.forgotten) == ((), (at(0),), ())


def test_the_current_partition_is_missing_as_far_as_it_is_settled() -> None:
    assert backlog_of([at(0)], {}, available=Window(-9, 7)).missing == ((at(0), Window(0, 7)),)
    assert backlog_of([at(0)], {at(0): [Window(0, 7)]}, available=Window(-9, 7)).covered == (at(0),)


def day(number: int) -> Partition:
    return partition_of(SNAPSHOT, MIDNIGHT + number * DAY)


@pytest.mark.parametrize("since_midnight", [0, 1, DAY - 1])
def test_only_the_current_day_of_a_snapshot_can_be_taken_and_only_once(since_midnight: int) -> None:
    asked = [day(n) for n in (1, -2, 0, -1)]
    backlog = snapshot_backlog(asked, [day(-2)], now=MIDNIGHT + since_midnight)
    assert backlog.missing == ((day(0), day(0).window),)
    assert (backlog.covered, backlog.forgotten, backlog.future) == ((day(-2),), (day(-1),), (day(1),))
    assert snapshot_backlog([day(0)], [day(0)], now=MIDNIGHT + since_midnight).covered == (day(0),)
