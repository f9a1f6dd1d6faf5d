"""The rules of the quota: when the next call may be sent. Pure decisions: no clock, no I/O, no processes.

A limit is a sum over a sliding window. `windows` defines which calls count in the sum, and for how long.

A caller that must wait gets the time to ask again. All waiting callers form one queue. The rules first add
the calls ahead in the queue to the windows, as if they were sent. So every caller gets its own slot, and no
two callers wake up for the same slot. Three rules order the queue:

*   Fresh calls go before backfill. After `MAX_FRESH_IN_A_ROW` fresh calls one backfill call goes first.
*   A low-cost call may overtake a high-cost call that does not fit, until the high-cost call has waited
    `MAX_OVERTAKE_SECONDS`. Backfill never overtakes a fresh call.
*   A queue entry expires `GRACE_SECONDS` after its time. A caller that must wait longer than
    `SHORT_WAIT_SECONDS` may come back as another process, so its entry holds no position for a short wait.
    It only gives other callers with a long wait a later time.

A long wait is always due to calls that have ended. If only the running calls and the queue cause a long wait,
the caller asks again after a short wait. A running call usually ends long before its reservation.

All times are seconds on the ledger's own time line, which only moves forward (see `records.elapsed`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hunting_pipeline.limits import Limits
from hunting_pipeline.quota.windows import RECHECK_SECONDS, RateWindow, Spend, windows

__all__ = ["Block", "Go", "Priority", "Queue", "QueueEntry", "WaitUntil", "decide"]

GRACE_SECONDS = 5.0
"""A caller that comes back this much too late keeps its queue entry. Above the longest wait for the ledger's
lock (1.0 s measured with 8 processes)."""
SPREAD_SECONDS = 0.1
"""Shortest time between the wake-ups of two callers: several times the duration of one transaction."""
SHORT_WAIT_SECONDS = 120.0
"""Longest wait that a caller sleeps through, so its entry keeps its position. Twice the period of the
shortest rate, so a queue for the calls of a minute keeps its order."""
MAX_OVERTAKE_SECONDS = 600.0
"""Time during which low-cost calls may overtake a high-cost call: a sixth of the shortest period of running
seconds."""
MAX_FRESH_IN_A_ROW = 4
"""Fresh calls in a row before one backfill call: backfill keeps at least a fifth of the quota."""


class Priority(StrEnum):
    """The urgency of a call: `FRESH` for the newest rows and for what a person asked, else `BACKFILL`."""

    FRESH = "fresh"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A caller in the queue.

    Attributes:
        number: the order in which callers first asked; unique.
        priority: the urgency of the call.
        seconds: running seconds that the call will reserve.
        expected: the running seconds that the call will probably use; the rest becomes free when it ends.
        since: time at which the caller first asked.
        asked: time at which the caller last asked.
        at: time at which the caller may ask again.
    """

    number: int
    priority: Priority
    seconds: float
    expected: float
    since: float
    asked: float
    at: float

    @property
    def waits_briefly(self) -> bool:
        """Whether the caller sleeps until `at`, so it does not come back as another process."""
        return self.at <= self.asked + SHORT_WAIT_SECONDS


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue as one caller sees it.

    Attributes:
        number: this caller's own queue number.
        others: the entries of all other callers.
        fresh_in_a_row: number of fresh calls sent since the last backfill call.
    """

    number: int = 0
    others: tuple[QueueEntry, ...] = ()
    fresh_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A block after a 429: no call may be sent before `until`."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Go:
    """The decision to send the call now."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """The decision to wait: ask again at `at` (Unix seconds), not before. `reason` is text for people."""

    at: float
    reason: str


def decide(
    history: Iterable[Spend],
    limits: Limits,
    now: float,
    *,
    share: float,
    priority: Priority,
    estimate: float,
    expected: float = math.inf,
    blocks: Iterable[Block] = (),
    queue: Queue = Queue(),
) -> Go | WaitUntil:
    """Decide if one call may be sent now, or when to ask again.

    The sum of a rate never exceeds its amount if no call runs longer than its reservation, and if no call of
    a dead process runs longer than expected. The sum exceeds the share only by the time that calls run beyond
    their expected time. If a call runs longer than its reservation, its elapsed time counts.

    Args:
        history: the calls within the longest period, in any order.
        limits: the rates; every rate applies.
        now: the ledger's time.
        share: the part of every rate that may be used, 0 < share ≤ 1; one call always fits.
        priority: the urgency of this call.
        estimate: running seconds to reserve; more than a whole rate counts as the whole rate.
        expected: running seconds that the call will probably use.
        blocks: the blocks that followed a 429.
        queue: the other waiting callers.
    """
    history = list(history)
    rates = windows(history, limits, now, share=share)
    own = QueueEntry(queue.number, priority, estimate, min(expected, estimate), since=now, asked=now, at=now)
    entries = [entry for entry in queue.others if entry.at + GRACE_SECONDS > now]
    block = max(blocks, key=lambda b: b.until, default=Block(now, ""))
    for considered in ([entry for entry in entries if entry.waits_briefly], entries):
        ahead = _ahead(considered, own, fresh_in_a_row=queue.fresh_in_a_row)
        if block.until <= now and _fits_now([window.copy() for window in rates], ahead, own, now):
            return Go()
        at, bound = _slot([window.copy() for window in rates], (*ahead, own), start=max(now, block.until))
        if at <= now + SHORT_WAIT_SECONDS:
            break
    else:
        ended = windows(history, limits, now, share=share, certain=True)
        soonest = max(now + RECHECK_SECONDS, block.until)
        latest = now + SHORT_WAIT_SECONDS - SPREAD_SECONDS
        at = _short_wait(ended, ahead, own, start=soonest, latest=latest) or at
    reason = bound or (f"blocked by the service: {block.reason}" if block.until > now else "")
    others = f"{len(ahead)} waiting before this one" if ahead else ""
    return WaitUntil(math.ceil(at * 1000 + 1) / 1000, ", ".join(filter(None, (reason, others))))


def _fits_now(rates: Sequence[RateWindow], ahead: Iterable[QueueEntry], own: QueueEntry, now: float) -> bool:
    """Return whether this call fits now, after all calls ahead that fit now too.

    A call ahead may need more running seconds than are left. For a limited time, a call with a lower cost may
    overtake such a call. Backfill never overtakes a fresh call.
    """
    for entry in ahead:
        if all(window.fits(entry, now) for window in rates):
            for window in rates:
                window.add(entry, now)
            continue
        may_be_overtaken = entry.since + MAX_OVERTAKE_SECONDS > now and (entry.priority, own.priority) != (
            Priority.FRESH,
            Priority.BACKFILL,
        )
        if entry.seconds <= own.seconds or not may_be_overtaken:
            return False
    return all(window.fits(own, now) for window in rates)


def _slot(rates: Sequence[RateWindow], entries: Iterable[QueueEntry], *, start: float) -> tuple[float, str]:
    """Return when the last of these calls fits after all others, and the reason for the wait.

    The reason is "" if no window causes a wait.
    """
    at, bound = start - SPREAD_SECONDS, ""
    for entry in entries:
        at += SPREAD_SECONDS
        for window in rates:
            later = window.first_fit(entry, at)
            if later > at:
                at, bound = later, window.reason
        for window in rates:
            window.add(entry, at)
    return at, bound


def _short_wait(
    ended: Sequence[RateWindow],
    ahead: Sequence[QueueEntry],
    own: QueueEntry,
    *,
    start: float,
    latest: float,
) -> float | None:
    """Return when to ask again; None if the ended calls leave no room for this call until `latest`.

    The calls ahead in the queue may take no running time, but each of them is a call. If they take all calls
    until `latest`, this caller keeps its position and asks again shortly before `latest`.
    """
    no_time = [replace(entry, seconds=0.0, expected=0.0) for entry in ahead]
    at, _ = _slot([window.copy() for window in ended], (*no_time, own), start=start)
    if at <= latest:
        return at
    alone, _ = _slot([window.copy() for window in ended], (own,), start=start)
    return max(start, latest - SPREAD_SECONDS * len(ahead)) if alone <= latest else None


def _ahead(entries: Iterable[QueueEntry], own: QueueEntry, *, fresh_in_a_row: int) -> list[QueueEntry]:
    """List the entries before `own`: fresh calls first, with a backfill call after every few fresh calls."""
    last_first = sorted((*entries, own), key=lambda entry: -entry.number)
    fresh = [entry for entry in last_first if entry.priority is Priority.FRESH]
    backfill = [entry for entry in last_first if entry.priority is Priority.BACKFILL]
    ahead: list[QueueEntry] = []
    while True:
        backfill_next = backfill and (fresh_in_a_row >= MAX_FRESH_IN_A_ROW or not fresh)
        entry = backfill.pop() if backfill_next else fresh.pop()
        if entry is own:
            return ahead
        ahead.append(entry)
        fresh_in_a_row = 0 if backfill_next else fresh_in_a_row + 1
