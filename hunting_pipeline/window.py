"""Which spans are missing: asked for, not yet covered, and still held by the service.

Pure: `now` is an argument.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hunting_pipeline.model import DAY, SECOND, Partition, TableSpec, Window, subtract

__all__ = [
    "SETTLING",
    "Backlog",
    "available",
    "available_partitions",
    "backlog_of",
    "forgotten_before",
    "null_time_spec",
    "partition_of",
    "partitions_in",
    "snapshot_backlog",
]

SETTLING = 15 * 60 * SECOND
"""Ticks that the youngest span waits before it is fetched: most events arrive within minutes of happening."""

_EDGE_MARGIN = 10 * 60 * SECOND
"""Ticks of distance to the retention edge, which moves while a run is going."""

_MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Backlog:
    """The partitions of a pull in four disjoint lists, each oldest first.

    Attributes:
        missing: spans to fetch; each lies within one partition.
        covered: partitions that need nothing. They are whole, or they lack only what the service has
            forgotten.
        forgotten: partitions that are not archived and that the service has forgotten.
        future: partitions that have not begun, or have not settled yet.
    """

    missing: tuple[tuple[Partition, Window], ...]
    covered: tuple[Partition, ...]
    forgotten: tuple[Partition, ...]
    future: tuple[Partition, ...]


def available(now: int, retention_days: int, spec: TableSpec | None = None) -> Window:
    """Return the span that can be asked for at `now` (ticks): clear of the retention edge, and settled.

    The rows of some hunts stand for spans of time. The window of such a hunt begins and ends at multiples of
    the spans' length, since only whole spans are fetched. A hunt may settle later than tables do.
    """
    hunt = spec.hunt if spec else None
    step, settling = (hunt.step, hunt.settle or SETTLING) if hunt else (1, SETTLING)
    start = now - retention_days * DAY + _EDGE_MARGIN
    end = now - settling
    start, end = start // _MINUTE * _MINUTE + _MINUTE, end // _MINUTE * _MINUTE
    return Window(-(-start // step) * step, end // step * step)


def forgotten_before(now: int, retention_days: int) -> int:
    """Return the instant (ticks) before which the service may already have forgotten rows.

    `now` is taken to be uncertain by a minute.
    """
    return now - retention_days * DAY + _MINUTE


def available_partitions(spec: TableSpec, available: Window, *, start: int) -> tuple[Partition, ...]:
    """Return every partition from `start` (ticks) on that touches the available window, oldest first."""
    return partitions_in(spec, Window(max(start, available.start), max(start, available.end)))


def null_time_spec(spec: TableSpec) -> TableSpec:
    """Return the null-time rows of a table as a table without a time column."""
    condition = f"isnull({spec.time_column})"
    where = f"{condition} and ({spec.where}\n)" if spec.where else condition  # a comment ends with its line
    return replace(spec, time_column=None, where=where)


def partition_of(spec: TableSpec, ticks: int) -> Partition:
    """Return the partition that holds the instant `ticks`; a partition of a snapshot table is a day."""
    length = DAY if spec.time_column is None else spec.grain.ticks
    start = ticks // length * length
    return Partition(spec.name, Window(start, start + length))


def partitions_in(spec: TableSpec, asked: Window) -> tuple[Partition, ...]:
    """Return every partition that `asked` touches, oldest first."""
    length = partition_of(spec, asked.start).window.ticks
    first = asked.start // length * length
    return tuple(partition_of(spec, start) for start in range(first, asked.end, length))


def backlog_of(
    partitions: Iterable[Partition], covered: Mapping[Partition, Iterable[Window]], *, available: Window
) -> Backlog:
    """Sort `partitions` by what is missing of them.

    A part of a partition may lie behind the retention edge. That part is left out silently as long as another
    part is archived or missing: the partition's manifest shows the gap.

    Args:
        partitions: the partitions asked for.
        covered: the spans of each archived partition that its file already holds.
        available: what the service can be asked for, see `available`.
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
    """Sort the partitions of a table without a time column: only the present day can be taken, once."""
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
