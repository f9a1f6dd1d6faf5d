"""The partitions that the automation requests, oldest first. Pure: no clock, no Dagster, no I/O.

There are two reasons to request a partition. A gap is missing in the archive, and the service still holds it.
A refresh extends the current partition every hour, and completes a partition after its end.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hunting_pipeline.model import (
    DAY,
    HOUR,
    SECOND,
    Grain,
    Partition,
    TableSpec,
    Window,
    partition_from_key,
)
from hunting_pipeline.window import partition_of, partitions_in

__all__ = [
    "GAP_PAUSE",
    "Kept",
    "Request",
    "adjacent",
    "available",
    "gaps",
    "newest",
    "oldest_chunk",
    "refreshes",
    "requests",
]

GAP_PAUSE = 6 * HOUR
"""Ticks between two requests of one gap: what the service refused once, it probably refuses again."""

_MINUTE = 60 * SECOND
_TICK = 20 * _MINUTE
"""The minute of each hour at which the current partition is extended. It is later than the settling delay, so
a partition that began at the full hour already has rows to fetch."""

_COMPLETED = {Grain.DAY: 3 * HOUR + 30 * _MINUTE, Grain.HOUR: _TICK}
"""Ticks from the end of a partition until it is completed. By then, its late rows have arrived."""

_EDGE = DAY
"""Partitions that expire within this many ticks are not requested: their runs could begin too late."""

_CHUNK = 7 * DAY
"""Ticks that one request for gaps covers. The next request follows when its run has ended."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A table that the automation keeps complete, and what Dagster knows about its partitions.

    Attributes:
        spec: the table.
        start: first instant (ticks) of its archive.
        archived: keys of the available partitions with a materialization.
        latest: time (ticks) of the latest materialization, by key; needed for the two newest partitions.
        asked: time (ticks) of the automation's latest request, by key.
        active: keys of the partitions that a queued or running run fetches.
    """

    spec: TableSpec
    start: int
    archived: Collection[str] = ()
    latest: Mapping[str, int] = field(default_factory=dict)
    asked: Mapping[str, int] = field(default_factory=dict)
    active: Collection[str] = ()

    def keys(self, first: str, last: str) -> list[str]:
        """Return the keys of all partitions from `first` to `last`."""
        ends = [partition_from_key(self.spec.name, key).window for key in (first, last)]
        return [one.key for one in partitions_in(self.spec, Window(ends[0].start, ends[1].end))]

    def waits(self, partition: Partition, *, since: int) -> bool:
        """Return whether a partition is neither being fetched nor was requested after `since` (ticks)."""
        return partition.key not in self.active and self.asked.get(partition.key, -1) < since


@dataclass(frozen=True, slots=True)
class Request:
    """A run for some tables with the same range of partitions.

    Attributes:
        tables: names of the tables.
        first: key of the first partition.
        last: key of the last partition, included.
    """

    tables: tuple[str, ...]
    first: str
    last: str


def newest(spec: TableSpec, now: int) -> tuple[Partition, Partition]:
    """Return the partition that ended last, and the current one."""
    current = partition_of(spec, now)
    return partition_of(spec, current.window.start - 1), current


def available(spec: TableSpec, start: int, *, now: int, retention_days: int) -> list[Partition]:
    """Return the partitions from `start` (ticks) on that the service holds as a whole, and the newest."""
    current = partition_of(spec, now)
    edge = max(start, now - retention_days * DAY + _EDGE)
    whole = partitions_in(spec, Window(edge, max(edge, current.window.start)))
    return [*(one for one in whole if one.window.start >= edge), current]


def gaps(table: Kept, *, now: int, retention_days: int) -> list[Partition]:
    """Return the missing partitions before the current one that the service still holds and that wait.

    A snapshot table has no gaps: the service only has the present.
    """
    if table.spec.time_column is None:
        return []
    *before, _ = available(table.spec, table.start, now=now, retention_days=retention_days)
    return [
        one for one in before if one.key not in table.archived and table.waits(one, since=now - GAP_PAUSE)
    ]


def refreshes(table: Kept, *, now: int) -> list[Partition]:
    """Return which of the two newest partitions must be extended or completed.

    A snapshot is never extended: it is requested every hour until it is archived.
    """
    ended, current = newest(table.spec, now)
    hour = (now - _TICK) // HOUR * HOUR + _TICK
    if current.window.end <= table.start:
        return []
    if table.spec.time_column is None:
        return [current] if current.key not in table.archived and table.waits(current, since=hour) else []
    due = []
    complete = ended.window.end + _COMPLETED[table.spec.grain]
    for one, at in ((ended, complete), (current, hour)):
        begun = one.window.start < at <= now and one.window.end > table.start
        known = one is current or one.key in table.archived  # a missing partition that has ended is a gap
        if begun and known and table.latest.get(one.key, -1) < at and table.waits(one, since=hour):
            due.append(one)
    return due


def oldest_chunk(wanted: Mapping[str, Sequence[Partition]]) -> dict[str, list[Partition]]:
    """Return the partitions of the oldest week of all tables."""
    starts = [one.window.start for partitions in wanted.values() for one in partitions]
    end = min(starts, default=0) + _CHUNK
    return {
        name: [one for one in partitions if one.window.start < end] for name, partitions in wanted.items()
    }


def requests(wanted: Mapping[str, Sequence[Partition]]) -> list[Request]:
    """Return one request for each range of adjacent partitions, for all tables that need it; oldest first."""
    tables: dict[tuple[str, str], list[str]] = {}
    for name, partitions in wanted.items():
        for first, last in adjacent(partitions):
            tables.setdefault((first, last), []).append(name)
    return [Request(tuple(names), *ends) for ends, names in sorted(tables.items())]


def adjacent(partitions: Iterable[Partition]) -> list[tuple[str, str]]:
    """Return the keys of the first and the last partition of each range of adjacent partitions."""
    found: list[list[Partition]] = []
    for one in sorted(partitions):
        if found and found[-1][-1].window.end == one.window.start:
            found[-1].append(one)
        else:
            found.append([one])
    return [(one[0].key, one[-1].key) for one in found]
