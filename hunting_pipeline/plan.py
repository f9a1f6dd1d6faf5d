"""The plan of a pull: windows packed into slices, the cost, and the order of partitions. Pure.

A slice must stay below the limits of one reply: rows and bytes. The service counts the rows of each bin. The
width of a row is an estimate, and every reply corrects it. Neighbouring bins are packed greedily into slices
up to a target number of rows. A single bin above the target becomes its own slice. `split` cuts this slice
before the fetch: by a finer histogram, or by hash buckets if its rows share one tick.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hunting_pipeline.limits import Kind, Limits
from hunting_pipeline.model import (
    DAY,
    HOUR,
    SECOND,
    Bin,
    Bucket,
    Histogram,
    Partition,
    Proof,
    Slice,
    Window,
)

__all__ = [
    "Cost",
    "PartitionCost",
    "Scheduled",
    "Width",
    "bucket_slices",
    "buckets_needed",
    "by_deadline",
    "cost",
    "finer_step",
    "fits",
    "pack",
    "pack_all",
    "partition_costs",
    "row_target",
    "step_for",
]

_STEPS = (
    1, 10, 100, 1_000, 10_000, 100_000, 1_000_000,  # one tick … 100 ms
    SECOND, 15 * SECOND, 60 * SECOND, 300 * SECOND, 900 * SECOND,
    HOUR, 6 * HOUR, DAY,
)  # fmt: skip
"""Bin sizes in ticks. Each size divides a day, and each size up to an hour divides an hour. So no bin crosses
the edge of a partition."""

_BINS = 4_000
"""Most bins of a histogram: about 300 kB of JSON, much less than a slice."""

_FINE_BINS = 50_000
"""Most bins of a second, finer histogram. It is requested only if it saves more calls than it costs."""

_ROW_HEADROOM = 0.99
"""The part of the row limit that a planned slice may use. Late rows may still arrive before the fetch."""

_BYTE_HEADROOM = 0.90
"""The part of the byte limit that a planned slice may use if replies have measured the table's width."""

_ESTIMATE_HEADROOM = 0.5
"""The same if the width is only the catalogue's estimate."""


@dataclass(frozen=True, slots=True)
class Width:
    """The JSON bytes of a row: `measured` in replies, or estimated by the catalogue."""

    bytes_per_row: float
    measured: bool = False

    def after(self, rows: int, body_bytes: int) -> "Width":
        """Return the width after one more reply. The width grows at once and shrinks slowly."""
        if rows < 100:  # the envelope outweighs the rows
            return self
        seen = max(1.0, body_bytes / rows)
        if not self.measured or seen > self.bytes_per_row:
            return Width(seen, measured=True)
        return Width(0.8 * self.bytes_per_row + 0.2 * seen, measured=True)


def row_target(limits: Limits, width: Width) -> int:
    """Return the target number of rows of a slice, below the row limit and the byte limit; at least 1."""
    by_rows = max(1, min(limits.rows - 1, math.floor(limits.rows * _ROW_HEADROOM)))
    if limits.reply_bytes is None:
        return by_rows
    headroom = _BYTE_HEADROOM if width.measured else _ESTIMATE_HEADROOM
    return max(1, min(by_rows, math.floor(limits.reply_bytes * headroom / width.bytes_per_row)))


def step_for(ticks: int, bins: int = _BINS) -> int:
    """Return the finest bin size that cuts a span of `ticks` into at most `bins` bins."""
    return next((step for step in _STEPS if ticks <= step * bins), DAY)


def finer_step(histogram: Histogram, target: int) -> int | None:
    """Return the bin size of a second, finer histogram; None if it would save no calls.

    Coarse bins leave slices half empty, which costs calls. A second histogram is worth its call if the packed
    slices are at least two more than the rows need.
    """
    ideal = math.ceil(histogram.rows / target)
    packed = sum(1 for window in histogram.windows for _ in pack(histogram, window, target=lambda: target))
    ticks = sum(window.ticks for window in histogram.windows)
    step = step_for(ticks, _FINE_BINS)
    if packed - ideal - (len(histogram.windows) - 1) < 2 or step >= histogram.step:
        return None
    return step


def pack(
    histogram: Histogram, window: Window, *, target: Callable[[], int], table: str = ""
) -> Iterator[Slice]:
    """Cut one window of a histogram into slices that tile the window, oldest first.

    Each slice holds at most `target()` rows. `target` is called for every slice, because replies may have
    changed the width since the last one. A window without rows yields one slice: its reply proves that there
    are no rows, and brings the Schema. A bin above the target yields a slice with the rows of this bin only.
    """
    bins = [b for b in histogram.bins if window.contains(b.window)]
    start, position = window.start, 0
    while True:
        taken = _fill(bins, position, target())
        mine = bins[position : position + taken]
        position += taken
        end = bins[position].window.start if position < len(bins) else window.end
        occupied = Window(mine[0].window.start, mine[-1].window.end) if mine else None
        yield Slice(table, Window(start, end), sum((b.proof for b in mine), Proof(0, 0)), occupied)
        if position >= len(bins):
            return
        start = end


def pack_all(histograms: Iterable[Histogram], *, target: Callable[[], int], table: str) -> Iterator[Slice]:
    """Cut all windows of some histograms into slices, see `pack`."""
    for histogram in histograms:
        for window in histogram.windows:
            yield from pack(histogram, window, target=target, table=table)


def _fill(bins: Sequence[Bin], position: int, target: int) -> int:
    """Return the number of bins from `position` on that fit one slice; at least one."""
    rows = 0
    for count, b in enumerate(bins[position:]):
        rows += b.proof.rows
        if rows > target and count:
            return count
    return len(bins) - position


def fits(slice_: Slice, limits: Limits, width: Width) -> bool:
    """Return whether one reply can probably carry the whole slice."""
    rows = slice_.expected.rows
    within_bytes = limits.reply_bytes is None or rows * width.bytes_per_row <= limits.reply_bytes
    return rows < limits.rows and (within_bytes or rows <= 1)


def buckets_needed(slice_: Slice, target: int) -> int:
    """Return the number of hash buckets for a slice: a power of two. A bucket is two thirds full on average.

    A slice that is already a bucket is cut into at least 16 buckets.
    """
    own = slice_.bucket.of if slice_.bucket else 1
    fan_out = 1 << max(1, math.ceil(math.log2(1.5 * slice_.expected.rows / target)))
    return own * (max(16, fan_out) if slice_.bucket else fan_out)


def bucket_slices(slice_: Slice, proofs: Sequence[Proof]) -> tuple[Slice, ...]:
    """Cut a slice by hash. A slice that is a bucket is cut into the finer buckets inside it.

    Buckets without rows are left out. An empty slice keeps its first bucket.
    """
    of = len(proofs)
    own = slice_.bucket or Bucket(0, 1)
    parts = [
        replace(slice_, expected=proofs[index], bucket=Bucket(index, of))
        for index in range(own.index, of, own.of)
    ]
    return tuple(part for part in parts if part.expected.rows) or tuple(parts[:1])


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a plan.

    Attributes:
        calls: requests, planning included.
        rows: rows to fetch.
        body_bytes: JSON bytes to receive.
        running_seconds: running time charged to the tenant.
        wall_seconds: shortest time in which the quota allows all calls.
    """

    calls: int
    rows: int
    body_bytes: int
    running_seconds: float
    wall_seconds: float


def cost(
    *, calls: int, rows: int, width: Width, limits: Limits, share: float, seconds_per_call: float
) -> Cost:
    """Calculate the cost of a plan.

    The rate that takes longest decides the wall time. Each rate allows its whole amount at once; the amount
    then renews once per period.
    """
    running = calls * seconds_per_call
    _, wall = _tightest(calls, running, limits, share=share)
    return Cost(calls, rows, math.ceil(rows * width.bytes_per_row), running, wall)


def _tightest(calls: float, running: float, limits: Limits, *, share: float) -> tuple[Kind, float]:
    """Return the kind of rate that takes longest under the quota, and its seconds."""
    spent = {Kind.CALLS: float(calls), Kind.SECONDS: running}
    waits = [
        (max(0.0, spent[rate.kind] / (rate.amount * share) - 1) * rate.period, rate.kind)
        for rate in limits.rates
    ]
    wall, kind = max([(running, Kind.SECONDS), *waits], key=lambda wait: wait[0])
    return kind, wall


@dataclass(frozen=True, slots=True)
class PartitionCost:
    """The cost of one partition and its deadline.

    Attributes:
        partition: the partition.
        calls: requests; a fraction if partitions share a request.
        running_seconds: running time of these requests.
        deadline: instant (ticks) at which the service begins to delete the partition's rows; None if never.
    """

    partition: Partition
    calls: float
    running_seconds: float
    deadline: int | None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The schedule of one partition.

    Attributes:
        partition: the partition.
        done: instant (ticks) at which all calls of the partition are done.
        lost: whether the service begins to delete the partition's rows before `done`.
    """

    partition: Partition
    done: int
    lost: bool


def partition_costs(
    slices: Iterable[Slice],
    partitions: Sequence[Partition],
    *,
    seconds_per_call: float,
    retention_days: int,
) -> list[PartitionCost]:
    """Calculate the cost of each partition of a table. Partitions that share a call share its cost."""
    calls = dict.fromkeys(partitions, 0.0)
    for slice_ in slices:
        window = slice_.window
        touched = [p for p in partitions if window is None or p.window.intersection(window)]
        for partition in touched:
            calls[partition] += 1 / len(touched)
    return [
        PartitionCost(
            partition,
            number,
            number * seconds_per_call,
            None if partition.null_time else partition.window.start + retention_days * DAY,
        )
        for partition, number in calls.items()
    ]


def by_deadline(costs: Iterable[PartitionCost], limits: Limits, *, share: float, now: int) -> list[Scheduled]:
    """Order partitions by deadline, and mark the partitions that cannot be fetched in time.

    The partition with the earliest deadline goes first. If a deadline cannot be met, the most expensive
    partition up to this deadline is given up. This keeps the most partitions (Moore and Hodgson, 1968; exact
    if one kind of rate binds). Partitions that are given up go last. The youngest of them goes first, because
    the service holds its rows longest.
    """
    kept: list[PartitionCost] = []
    lost: list[PartitionCost] = []
    calls = running = 0.0
    for one in sorted(costs, key=_deadline):
        kept.append(one)
        calls, running = calls + one.calls, running + one.running_seconds
        while kept:
            kind, wall = _tightest(calls, running, limits, share=share)
            if one.deadline is None or now + wall * SECOND < one.deadline:
                break
            costliest = max(kept, key=lambda c: c.calls if kind is Kind.CALLS else c.running_seconds)
            kept.remove(costliest)
            lost.append(costliest)
            calls, running = calls - costliest.calls, running - costliest.running_seconds
    given_up = {one.partition for one in lost}
    lost.sort(key=_deadline, reverse=True)
    schedule = []
    calls = running = 0.0
    for one in (*kept, *lost):
        calls, running = calls + one.calls, running + one.running_seconds
        _, wall = _tightest(calls, running, limits, share=share)
        schedule.append(Scheduled(one.partition, now + math.ceil(wall * SECOND), one.partition in given_up))
    return schedule


def _deadline(one: PartitionCost) -> tuple[float, Partition]:
    return (math.inf if one.deadline is None else one.deadline, one.partition)
