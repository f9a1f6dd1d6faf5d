"""Which spans are owed: asked, not yet covered, and still held by the service. Pure: `now` is an argument."""

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
"""Ticks by which the young end is held back: most events arrive within minutes of happening."""

_EDGE_MARGIN = 10 * 60 * SECOND
"""Ticks kept clear of the retention edge, which moves while a run is going."""

_MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a pull owes, in four disjoint lists of partitions, each oldest first.

    Attributes:
        missing: spans to fetch; each lies within one partition.
        covered: partitions that need nothing: whole, or archived and lacking only what is forgotten.
        forgotten: partitions of which nothing is archived and nothing can be had any more.
        future: partitions that have not begun, or not yet settled.
    """

    missing: tuple[tuple[Partition, Window], ...]
    covered: tuple[Partition, ...]
    forgotten: tuple[Partition, ...]
    future: tuple[Partition, ...]


def available(now: int, retention_days: int, spec: TableSpec | None = None) -> Window:
    """The span that can be asked for at `now` (ticks): clear of the retention edge, and settled.

    Of a hunt whose rows stand for spans of time, only whole ones: it begins and ends at multiples of their
    length. A hunt may settle later than tables do.
    """
    hunt = spec.hunt if spec else None
    step, settling = (hunt.step, hunt.settle or SETTLING) if hunt else (1, SETTLING)
    start = now - retention_days * DAY + _EDGE_MARGIN
    end = now - settling
    start, end = start // _MINUTE * _MINUTE + _MINUTE, end // _MINUTE * _MINUTE
    return Window(-(-start // step) * step, end // step * step)


def forgotten_before(now: int, retention_days: int) -> int:
    """The instant (ticks) before which the service may already have forgotten rows, `now` being uncertain
    by a minute."""
    return now - retention_days * DAY + _MINUTE


def available_partitions(spec: TableSpec, available: Window, *, start: int) -> tuple[Partition, ...]:
    """Every partition from `start` (ticks) on that touches what the service holds, oldest first."""
    return partitions_in(spec, Window(max(start, available.start), max(start, available.end)))


def null_time_spec(spec: TableSpec) -> TableSpec:
    """The rows of a table whose time is null, as a table without a time column."""
    condition = f"isnull({spec.time_column})"
    where = f"{condition} and ({spec.where}\n)" if spec.where else condition  # a comment ends with its line
    return replace(spec, time_column=None, where=where)


def partition_of(spec: TableSpec, ticks: int) -> Partition:
    """The partition that holds the instant `ticks`; a snapshot table's is a day."""
    length = DAY if spec.time_column is None else spec.grain.ticks
    start = ticks // length * length
    return Partition(spec.name, Window(start, start + length))


def partitions_in(spec: TableSpec, asked: Window) -> tuple[Partition, ...]:
    """Every partition that `asked` touches, oldest first."""
    length = partition_of(spec, asked.start).window.ticks
    first = asked.start // length * length
    return tuple(partition_of(spec, start) for start in range(first, asked.end, length))


def backlog_of(
    partitions: Iterable[Partition], covered: Mapping[Partition, Iterable[Window]], *, available: Window
) -> Backlog:
    """Sort `partitions` by what is missing of them.

    What of a partition lies behind the edge is left out without a word as long as another part of it is
    archived or still owed: its manifest shows the gap.

    Args:
        partitions: what was asked for.
        covered: the spans of each archived partition that its file already holds.
        held: what the service can be asked for, see `held`.
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
    """The same for a table without a time column: only the present day can be taken, once."""
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
