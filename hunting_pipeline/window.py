"""The missing spans: requested, not archived, and still held by the service. Pure: `now` is an argument."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from hunting_pipeline.model import DAY, SECOND, Partition, TableSpec, Window, datetime_of, subtract

__all__ = [
    "SETTLING",
    "Backlog",
    "available",
    "available_partitions",
    "backlog_of",
    "first_day",
    "null_time_spec",
    "partition_of",
    "partitions_in",
    "retention_edge",
    "selected_partitions",
    "snapshot_backlog",
]

SETTLING = 15 * 60 * SECOND
"""Rows younger than this many ticks are not fetched yet, because most events arrive some minutes late."""

_EDGE_MARGIN = 10 * 60 * SECOND
"""Spans closer than this many ticks to the retention edge are not fetched. The edge moves during a run."""

_MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Backlog:
    """The partitions of a pull in four disjoint lists, each oldest first.

    Attributes:
        missing: spans to fetch; each lies within one partition.
        covered: partitions with nothing to fetch. The archive holds all rows, or all that could be fetched.
        forgotten: partitions that are not archived, and that the service no longer holds.
        future: partitions that have not begun, or whose rows are younger than `SETTLING`.
    """

    missing: tuple[tuple[Partition, Window], ...]
    covered: tuple[Partition, ...]
    forgotten: tuple[Partition, ...]
    future: tuple[Partition, ...]


def first_day(now: int, retention_days: int) -> date:
    """Return the oldest day with rows that the service still holds at `now` (ticks)."""
    return datetime_of(now).date() - timedelta(days=retention_days)


def available(now: int, retention_days: int, spec: TableSpec | None = None) -> Window:
    """Return the window that can be fetched at `now` (ticks), between the retention edge and `SETTLING`.

    Each row of some hunts summarizes a span of time. The window of such a hunt begins and ends at multiples
    of the span's length. A hunt can set a settling time other than `SETTLING`.
    """
    hunt = spec.hunt if spec else None
    step, settling = (hunt.step, hunt.settle or SETTLING) if hunt else (1, SETTLING)
    start = now - retention_days * DAY + _EDGE_MARGIN
    end = now - settling
    start, end = start // _MINUTE * _MINUTE + _MINUTE, end // _MINUTE * _MINUTE
    return Window(-(-start // step) * step, end // step * step)


def retention_edge(now: int, retention_days: int) -> int:
    """Return the retention edge (ticks): the service may have deleted rows before this instant.

    `now` may be wrong by a minute.
    """
    return now - retention_days * DAY + _MINUTE


def available_partitions(spec: TableSpec, available: Window, *, start: int) -> tuple[Partition, ...]:
    """Return the partitions from `start` (ticks) on that overlap the available window, oldest first."""
    return partitions_in(spec, Window(max(start, available.start), max(start, available.end)))


def null_time_spec(spec: TableSpec) -> TableSpec:
    """Return a spec for the null-time rows of a table. It has no time column."""
    condition = f"isnull({spec.time_column})"
    # the newline ends a comment in `where`
    where = f"{condition} and ({spec.where}\n)" if spec.where else condition
    return replace(spec, time_column=None, where=where)


def partition_of(spec: TableSpec, ticks: int) -> Partition:
    """Return the partition that contains the instant `ticks`. A partition of a snapshot table is a day."""
    length = DAY if spec.time_column is None else spec.grain.ticks
    start = ticks // length * length
    return Partition(spec.name, Window(start, start + length))


def partitions_in(spec: TableSpec, asked: Window) -> tuple[Partition, ...]:
    """Return the partitions that overlap `asked`, oldest first."""
    length = partition_of(spec, asked.start).window.ticks
    first = asked.start // length * length
    return tuple(partition_of(spec, start) for start in range(first, asked.end, length))


def selected_partitions(spec: TableSpec, asked: Window, *, now: int, open_end: bool) -> tuple[Partition, ...]:
    """Return the partitions that overlap `asked`. Of a snapshot table, return only today's if it is included.

    With `open_end`, today's snapshot is included.
    """
    overlapping = partitions_in(spec, asked)
    if spec.time_column is None:
        today = partition_of(spec, now)
        return (today,) if open_end or today in overlapping else overlapping
    return overlapping


def backlog_of(
    partitions: Iterable[Partition], covered: Mapping[Partition, Iterable[Window]], *, available: Window
) -> Backlog:
    """Sort `partitions` into the lists of a `Backlog`.

    A part of a partition may lie before the available window. This part is left out without an error if
    another part is archived or missing. The partition's manifest shows the gap.

    Args:
        partitions: the requested partitions.
        covered: the spans that each archived partition's file already holds.
        available: the available window, see `available`.
    """
    spans: list[tuple[Partition, Window]] = []
    done, forgotten, future = [], [], []
    for partition in sorted(partitions):
        if partition.window.start >= available.end:
            future.append(partition)
            continue
        wanted = Window(partition.window.start, min(partition.window.end, available.end))
        missing = subtract(wanted, covered.get(partition, ()))
        reachable = [span for gap in missing if (span := gap.intersection(available))]
        spans += [(partition, span) for span in reachable]
        if not missing or (not reachable and partition in covered):
            done.append(partition)
        elif not reachable:
            forgotten.append(partition)
    return Backlog(tuple(spans), tuple(done), tuple(forgotten), tuple(future))


def snapshot_backlog(partitions: Iterable[Partition], taken: Iterable[Partition], *, now: int) -> Backlog:
    """Sort the partitions of a snapshot table. Only the snapshot of the current day can be fetched, once."""
    taken = set(taken)
    spans: list[tuple[Partition, Window]] = []
    done, forgotten, future = [], [], []
    for partition in sorted(partitions):
        if partition in taken:
            done.append(partition)
        elif partition.window.start > now:
            future.append(partition)
        elif partition.window.end <= now:
            forgotten.append(partition)
        else:
            spans.append((partition, partition.window))
    return Backlog(tuple(spans), tuple(done), tuple(forgotten), tuple(future))
