"""How windows are cut into slices: greedy packing of neighbouring bins under a target. Pure.

A slice must stay below what one reply can carry, by rows and by bytes. What the service counted in each bin
is known; how wide a row is, is estimated and corrected by every reply. A single bin over the target becomes
a slice of its own, which the caller splits before asking for it: by a finer histogram, and below one tick by
hash buckets.
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
    "row_target",
    "step_for",
]

_STEPS = (
    1, 10, 100, 1_000, 10_000, 100_000, 1_000_000,  # one tick … 100 ms
    SECOND, 15 * SECOND, 60 * SECOND, 300 * SECOND, 900 * SECOND,
    HOUR, 6 * HOUR, DAY,
)  # fmt: skip
"""Bin sizes in ticks. Each divides a day, and those up to an hour divide an hour, so that no bin crosses the
edge of a partition."""

_BINS = 4_000
"""A histogram of this many bins is some 300 kB of JSON: small beside any slice."""

_FINE_BINS = 50_000
"""Bins of a second, finer histogram, asked only where it saves more calls than it costs."""

_ROW_HEADROOM = 0.99
"""Share of the row cap that a slice is planned to: late rows may still arrive before it is fetched."""

_BYTE_HEADROOM = 0.90
"""Share of the byte cap that a slice is planned to once replies have taught the table's width."""

_GUESS_HEADROOM = 0.5
"""The same while the width is only the catalogue's guess."""


@dataclass(frozen=True, slots=True)
class Width:
    """JSON bytes a row takes; `learnt` from replies, or guessed by the catalogue."""

    bytes_per_row: float
    learnt: bool = False

    def after(self, rows: int, body_bytes: int) -> "Width":
        """What a reply teaches. Follows a wider reply at once and a narrower one slowly."""
        if rows < 100:  # the envelope outweighs the rows
            return self
        seen = max(1.0, body_bytes / rows)
        if not self.learnt or seen > self.bytes_per_row:
            return Width(seen, learnt=True)
        return Width(0.8 * self.bytes_per_row + 0.2 * seen, learnt=True)


def row_target(limits: Limits, width: Width) -> int:
    """Rows a slice is planned to, so that neither the row cap nor the byte cap is reached; at least 1."""
    by_rows = max(1, min(limits.rows - 1, math.floor(limits.rows * _ROW_HEADROOM)))
    if limits.reply_bytes is None:
        return by_rows
    headroom = _BYTE_HEADROOM if width.learnt else _GUESS_HEADROOM
    return max(1, min(by_rows, math.floor(limits.reply_bytes * headroom / width.bytes_per_row)))


def step_for(ticks: int, bins: int = _BINS) -> int:
    """The finest bin size that cuts a span of `ticks` into at most `bins` bins."""
    return next((step for step in _STEPS if ticks <= step * bins), DAY)


def finer_step(histogram: Histogram, target: int) -> int | None:
    """A bin size worth a second histogram, or None: coarse bins leave slices half empty and cost calls.

    Worth it when packing now would take at least two calls more than rows alone demand.
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
    """Cut one window of a histogram into slices that tile it, oldest first, each of at most `target()` rows.

    `target` is asked anew for every slice, so that a width learnt meanwhile counts. A window without rows
    yields one slice all the same: its reply proves the emptiness and brings the Schema. A bin over the
    target yields a slice that holds the rows of that bin alone.
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


def _fill(bins: Sequence[Bin], position: int, target: int) -> int:
    """How many bins from `position` on make one slice: as many as fit, at least one."""
    rows = 0
    for count, b in enumerate(bins[position:]):
        rows += b.proof.rows
        if rows > target and count:
            return count
    return len(bins) - position


def fits(slice_: Slice, limits: Limits, width: Width) -> bool:
    """Whether a reply can be expected to carry the slice whole."""
    rows = slice_.expected.rows
    within_bytes = limits.reply_bytes is None or rows * width.bytes_per_row <= limits.reply_bytes
    return rows < limits.rows and (within_bytes or rows <= 1)


def buckets_needed(slice_: Slice, target: int) -> int:
    """Buckets for a slice that time cannot cut: a power of two, filled to two thirds on average.

    A bucket that must be cut again is cut at least sixteenfold.
    """
    own = slice_.bucket.of if slice_.bucket else 1
    fan_out = 1 << max(1, math.ceil(math.log2(1.5 * slice_.expected.rows / target)))
    return own * (max(16, fan_out) if slice_.bucket else fan_out)


def bucket_slices(slice_: Slice, proofs: Sequence[Proof]) -> tuple[Slice, ...]:
    """The slice cut by hash; a bucket slice is cut into those buckets that refine its own.

    Buckets of no rows are left out, except that an empty slice keeps its first.
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
    """What a plan will spend.

    Attributes:
        calls: requests, planning included.
        rows: rows to fetch.
        body_bytes: JSON bytes to receive.
        running_seconds: running time charged to the tenant.
        wall_seconds: least time under the quota.
    """

    calls: int
    rows: int
    body_bytes: int
    running_seconds: float
    wall_seconds: float


def cost(*, calls: int, rows: int, width: Width, limits: Limits, share: float, seconds_a_call: float) -> Cost:
    """Price a plan. The wall time is the tightest rate's: each allows one amount at once, then renews."""
    running = calls * seconds_a_call
    _, wall = _tightest(calls, running, limits, share=share)
    return Cost(calls, rows, math.ceil(rows * width.bytes_per_row), running, wall)


def _tightest(calls: float, running: float, limits: Limits, *, share: float) -> tuple[Kind, float]:
    """The seconds that so much takes at least, and the kind of spending that makes it so."""
    spent = {Kind.CALLS: float(calls), Kind.SECONDS: running}
    waits = [
        (max(0.0, spent[rate.kind] / (rate.amount * share) - 1) * rate.period, rate.kind)
        for rate in limits.rates
    ]
    wall, kind = max([(running, Kind.SECONDS), *waits], key=lambda wait: wait[0])
    return kind, wall


@dataclass(frozen=True, slots=True)
class Due:
    """What one partition will cost.

    Attributes:
        partition: which.
        calls: requests; a part of one where neighbours share it.
        running_seconds: running time of them.
        deadline: ticks from which on the service forgets its first rows; None if it never does.
    """

    partition: Partition
    calls: float
    running_seconds: float
    deadline: int | None


@dataclass(frozen=True, slots=True)
class Turn:
    """When a partition's turn is over, in ticks, and whether it will have fallen off the edge by then."""

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
    """What each partition of one table costs: a call that several partitions share is dealt out evenly."""
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


def by_deadline(owed: Iterable[Due], limits: Limits, *, share: float, now: int) -> list[Turn]:
    """The order in which to work, and what will be lost all the same.

    Oldest first; where not all can be had in time, the dearest of those that compete is given up, so that the
    most partitions are kept (Moore and Hodgson, 1968; exact where one kind of rate binds). What is given up
    goes last, the youngest first: of that the service still holds most.
    """
    kept: list[Due] = []
    lost: list[Due] = []
    calls = running = 0.0
    for due in sorted(owed, key=_urgency):
        kept.append(due)
        calls, running = calls + due.calls, running + due.running_seconds
        while kept:
            kind, wall = _tightest(calls, running, limits, share=share)
            if due.deadline is None or now + wall * SECOND < due.deadline:
                break
            dearest = max(kept, key=lambda d: d.calls if kind is Kind.CALLS else d.running_seconds)
            kept.remove(dearest)
            lost.append(dearest)
            calls, running = calls - dearest.calls, running - dearest.running_seconds
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
