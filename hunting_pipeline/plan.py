"""How windows are planned as slices, what a plan costs, and in which order partitions are fetched. Pure.

A slice must stay below what one reply can carry, by rows and by bytes. The service counts the rows of each
bin. The width of a row is an estimate that every reply corrects. Neighbouring bins are packed greedily into
slices under a target. A single bin over the target becomes its own slice, which `split` cuts before it is
fetched: by a finer histogram, and below one tick by hash buckets.
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
    "Due",
    "Turn",
    "Width",
    "bucket_slices",
    "buckets_needed",
    "by_deadline",
    "cost",
    "dues",
    "finer_step",
    "fits",
    "pack",
    "pack_all",
    "row_target",
    "step_for",
]

_STEPS = (
    1, 10, 100, 1_000, 10_000, 100_000, 1_000_000,  # one tick … 100 ms
    SECOND, 15 * SECOND, 60 * SECOND, 300 * SECOND, 900 * SECOND,
    HOUR, 6 * HOUR, DAY,
)  # fmt: skip
"""Bin sizes in ticks. Each divides a day, and those up to an hour divide an hour: no bin crosses the edge of
a partition."""

_BINS = 4_000
"""A histogram of this many bins is some 300 kB of JSON: small beside any slice."""

_FINE_BINS = 50_000
"""Bins of a second, finer histogram, which is asked for only where it saves more calls than it costs."""

_ROW_HEADROOM = 0.99
"""Share of the row cap that a slice is planned to: late rows may still arrive before the slice is fetched."""

_BYTE_HEADROOM = 0.90
"""Share of the byte cap that a slice is planned to once replies have taught the table's width."""

_GUESS_HEADROOM = 0.5
"""Share of the byte cap while the width is only the catalogue's guess."""


@dataclass(frozen=True, slots=True)
class Width:
    """The JSON bytes of a row: `learnt` from replies, or guessed by the catalogue."""

    bytes_per_row: float
    learnt: bool = False

    def after(self, rows: int, body_bytes: int) -> "Width":
        """Return the width after one more reply. A wider reply counts at once, a narrower one slowly."""
        if rows < 100:  # the envelope outweighs the rows
            return self
        seen = max(1.0, body_bytes / rows)
        if not self.learnt or seen > self.bytes_per_row:
            return Width(seen, learnt=True)
        return Width(0.8 * self.bytes_per_row + 0.2 * seen, learnt=True)


def row_target(limits: Limits, width: Width) -> int:
    """Return how many rows a slice is planned to, below the row cap and the byte cap; at least 1."""
    by_rows = max(1, min(limits.rows - 1, math.floor(limits.rows * _ROW_HEADROOM)))
    if limits.reply_bytes is None:
        return by_rows
    headroom = _BYTE_HEADROOM if width.learnt else _GUESS_HEADROOM
    return max(1, min(by_rows, math.floor(limits.reply_bytes * headroom / width.bytes_per_row)))


def step_for(ticks: int, bins: int = _BINS) -> int:
    """Return the finest bin size that cuts a span of `ticks` into at most `bins` bins."""
    return next((step for step in _STEPS if ticks <= step * bins), DAY)


def finer_step(histogram: Histogram, target: int) -> int | None:
    """Return a bin size for a second histogram, or None where a second histogram does not pay.

    Coarse bins leave slices half empty, which costs calls. A second histogram pays when packing would
    otherwise take at least two calls more than the rows alone demand.
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

    Each slice holds at most `target()` rows. `target` is called again for every slice: a width that was
    learnt meanwhile counts. A window without rows yields one slice: its reply proves the emptiness and brings
    the Schema. A bin over the target yields a slice that holds the rows of that bin alone.
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
    """Return how many bins from `position` on make one slice: as many as fit, at least one."""
    rows = 0
    for count, b in enumerate(bins[position:]):
        rows += b.proof.rows
        if rows > target and count:
            return count
    return len(bins) - position


def fits(slice_: Slice, limits: Limits, width: Width) -> bool:
    """Return whether one reply can be expected to carry the whole slice."""
    rows = slice_.expected.rows
    within_bytes = limits.reply_bytes is None or rows * width.bytes_per_row <= limits.reply_bytes
    return rows < limits.rows and (within_bytes or rows <= 1)


def buckets_needed(slice_: Slice, target: int) -> int:
    """Return how many hash buckets to cut a slice into: a power of two, filled to two thirds on average.

    A bucket that must be cut again is cut at least sixteenfold.
    """
    own = slice_.bucket.of if slice_.bucket else 1
    fan_out = 1 << max(1, math.ceil(math.log2(1.5 * slice_.expected.rows / target)))
    return own * (max(16, fan_out) if slice_.bucket else fan_out)


def bucket_slices(slice_: Slice, proofs: Sequence[Proof]) -> tuple[Slice, ...]:
    """Cut a slice by hash. A slice that is a bucket is cut into the buckets that refine that bucket.

    Buckets without rows are left out, but an empty slice keeps its first bucket.
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
        wall_seconds: least time that the plan takes under the quota.
    """

    calls: int
    rows: int
    body_bytes: int
    running_seconds: float
    wall_seconds: float


def cost(*, calls: int, rows: int, width: Width, limits: Limits, share: float, seconds_a_call: float) -> Cost:
    """Calculate what a plan costs.

    The tightest rate decides about the wall time: each rate allows one amount at once and then renews.
    """
    running = calls * seconds_a_call
    _, wall = _tightest(calls, running, limits, share=share)
    return Cost(calls, rows, math.ceil(rows * width.bytes_per_row), running, wall)


def _tightest(calls: float, running: float, limits: Limits, *, share: float) -> tuple[Kind, float]:
    """Return the kind of spending that takes longest under the quota, and its seconds."""
    spent = {Kind.CALLS: float(calls), Kind.SECONDS: running}
    waits = [
        (max(0.0, spent[rate.kind] / (rate.amount * share) - 1) * rate.period, rate.kind)
        for rate in limits.rates
    ]
    wall, kind = max([(running, Kind.SECONDS), *waits], key=lambda wait: wait[0])
    return kind, wall


@dataclass(frozen=True, slots=True)
class Due:
    """The cost of one partition and its deadline.

    Attributes:
        partition: the partition.
        calls: requests; a fraction where neighbours share a request.
        running_seconds: running time of these requests.
        deadline: instant (ticks) at which the service begins to forget the partition; None if it never does.
    """

    partition: Partition
    calls: float
    running_seconds: float
    deadline: int | None


@dataclass(frozen=True, slots=True)
class Turn:
    """A partition's place in the order of work.

    Attributes:
        partition: the partition.
        done: instant (ticks) at which the partition is fetched.
        lost: whether the service has begun to forget the partition by then.
    """

    partition: Partition
    done: int
    lost: bool


def dues(
    slices: Iterable[Slice],
    partitions: Sequence[Partition],
    *,
    seconds_a_call: float,
    retention_days: int,
) -> list[Due]:
    """Calculate what each partition of one table costs; partitions that share a call share its cost."""
    calls = dict.fromkeys(partitions, 0.0)
    for slice_ in slices:
        window = slice_.window
        touched = [p for p in partitions if window is None or p.window.intersection(window)]
        for partition in touched:
            calls[partition] += 1 / len(touched)
    return [
        Due(
            partition,
            number,
            number * seconds_a_call,
            None if partition.null_time else partition.window.start + retention_days * DAY,
        )
        for partition, number in calls.items()
    ]


def by_deadline(due_partitions: Iterable[Due], limits: Limits, *, share: float, now: int) -> list[Turn]:
    """Order partitions by deadline, and find those that will be lost all the same.

    The oldest goes first. Where not all can be fetched in time, the one with the highest cost among those
    that compete is given up: this keeps the most partitions (Moore and Hodgson, 1968; exact where one kind of
    rate binds). Partitions that are given up go last, the youngest first, because the service holds
    these longest.
    """
    kept: list[Due] = []
    lost: list[Due] = []
    calls = running = 0.0
    for due in sorted(due_partitions, key=_urgency):
        kept.append(due)
        calls, running = calls + due.calls, running + due.running_seconds
        while kept:
            kind, wall = _tightest(calls, running, limits, share=share)
            if due.deadline is None or now + wall * SECOND < due.deadline:
                break
            costliest = max(kept, key=lambda d: d.calls if kind is Kind.CALLS else d.running_seconds)
            kept.remove(costliest)
            lost.append(costliest)
            calls, running = calls - costliest.calls, running - costliest.running_seconds
    given_up = {due.partition for due in lost}
    lost.sort(key=_urgency, reverse=True)
    turns = []
    calls = running = 0.0
    for due in (*kept, *lost):
        calls, running = calls + due.calls, running + due.running_seconds
        _, wall = _tightest(calls, running, limits, share=share)
        turns.append(Turn(due.partition, now + math.ceil(wall * SECOND), due.partition in given_up))
    return turns


def _urgency(due: Due) -> tuple[float, Partition]:
    return (math.inf if due.deadline is None else due.deadline, due.partition)
